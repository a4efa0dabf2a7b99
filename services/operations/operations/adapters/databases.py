"""The others' databases, as the role `auditor` sees them: everything, and nothing to change."""

import sqlalchemy as sa


def reading(url: str, *, statement_seconds: int = 240) -> sa.Engine:
    """Return an engine that keeps no connection: a run is rare, and its temp tables go with it.

    Statements may take longer than a customer's: they read whole tables.
    """
    return sa.create_engine(
        url,
        poolclass=sa.NullPool,
        connect_args={
            "connect_timeout": 3,
            "application_name": "operations",
            "options": f"-c statement_timeout={statement_seconds * 1000} -c lock_timeout=5000"
            " -c timezone=UTC",
        },
    )
