"""The Postgres engine, one per execution environment, and what the services map onto it."""

# ruff: noqa: E402 (imports are put off first)

from typing import Any

from shared.later import later

# SQLAlchemy imports its dialects for every driver of Postgres.
later(
    *(
        f"sqlalchemy.dialects.postgresql.{driver}"
        for driver in ("asyncpg", "psycopg2", "psycopg2cffi")
    )
)

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.dialects import registry

registry.register("postgresql.oneflight", "shared.postgres", "Dialect")

_OPTIONS = (
    "-c statement_timeout=8000 -c lock_timeout=5000 -c timezone=UTC"
    " -c idle_in_transaction_session_timeout=15000"
)


def engine(url: str) -> Engine:
    """Return an engine for `url` (`postgresql://user@host:port/database?sslmode=…`).

    Without a driver in its name the URL means the functions' own (`shared.postgres`);
    `postgresql+psycopg://` means psycopg, where that is installed.

    An execution environment serves one request at a time, so one connection is all it can use;
    it is kept for the next request and checked before use, since the server may have restarted
    while the environment was frozen. Statements and lock waits are bounded below the shortest
    function timeout: the database gives up before Lambda kills us, and says why.
    """
    wanted = make_url(url)
    if wanted.drivername in {"postgresql", "postgresql+oneflight"}:
        arguments = {
            "timeout": 3,
            "ssl_context": _tls(wanted),
            # pg8000 sends UTF-8, whatever the server's own encoding is.
            "startup_params": {"options": _OPTIONS, "client_encoding": "UTF8"},
        }
        wanted = wanted.set(drivername="postgresql+oneflight").difference_update_query(_TLS_NAMES)
    else:
        arguments = {"connect_timeout": 3, "options": _OPTIONS}
    return create_engine(
        wanted, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=arguments
    )


_TLS_NAMES = ("sslmode", "sslrootcert")


def _tls(url: URL) -> Any:
    """Return what pg8000 calls ssl_context, for the names that libpq has for it.

    `prefer`, the default, takes what the server offers; `require` insists, but on anybody's
    certificate; `verify-full` insists on the host's own, by `sslrootcert` or the system's roots.
    """
    mode = url.query.get("sslmode", "prefer")
    if mode == "verify-full":
        import ssl  # noqa: PLC0415 (a fiftieth of a cold start, where it is not used)

        root = url.query.get("sslrootcert")
        return ssl.create_default_context(cafile=str(root) if root else None)
    try:
        return {"disable": False, "prefer": None, "require": True}[str(mode)]
    except KeyError:
        raise ValueError(f"sslmode {mode!r}: disable, prefer, require or verify-full") from None
