"""The others' databases, as the role `auditor` sees them: everything, and nothing to change."""

import sqlalchemy as sa

from shared.database import Database, connects

STATEMENT_SECONDS = 240
"""Statements may take longer than a customer's: they read whole tables."""

# On AWS, behind a proxy that takes no options, tools/database_roles.py gives the role these.
SESSION = {
    "statement_timeout": STATEMENT_SECONDS * 1000,
    "lock_timeout": 5000,
    # A function that was killed must not hold its snapshot for ever.
    "idle_in_transaction_session_timeout": 300_000,
    "timezone": "UTC",
}


def reading(url: str) -> sa.Engine:
    """Return an engine that keeps no connection: a run is rare, and its temp tables go with it."""
    database = Database.at(url)
    args = database.connect_args() | {"application_name": "operations"}
    if database.via == "direct":
        args["options"] = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    made = sa.create_engine(database.url, poolclass=sa.NullPool, connect_args=args)
    connects(made, database)
    return made
