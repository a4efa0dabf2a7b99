"""The Postgres engine, one per execution environment, and what the services map onto it."""

from sqlalchemy import Engine, create_engine


def engine(url: str) -> Engine:
    """Return an engine for `url` (`postgresql+psycopg://user@host:port/database`).

    An execution environment serves one request at a time, so one connection is all it can use;
    it is kept for the next request and checked before use, since the server may have restarted
    while the environment was frozen. Statements and lock waits are bounded below the shortest
    function timeout: the database gives up before Lambda kills us, and says why.
    """
    return create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 3,
            "options": "-c statement_timeout=8000 -c lock_timeout=5000 -c timezone=UTC"
            " -c idle_in_transaction_session_timeout=15000",
        },
    )
