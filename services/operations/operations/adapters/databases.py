"""The others' databases, as the role `auditor` sees them: everything, and nothing to change."""

import sqlalchemy as sa

STATEMENT_SECONDS = 240
"""Statements may take longer than a customer's: they read whole tables."""


def reading(url: str) -> sa.Engine:
    """Return an engine that keeps no connection: a run is rare, and its temp tables go with it."""
    return sa.create_engine(
        url,
        poolclass=sa.NullPool,
        connect_args={
            "connect_timeout": 3,
            "application_name": "operations",
            "options": f"-c statement_timeout={STATEMENT_SECONDS * 1000} -c lock_timeout=5000"
            # A function that was killed must not hold its snapshot for ever.
            " -c idle_in_transaction_session_timeout=300000 -c timezone=UTC",
        },
    )
