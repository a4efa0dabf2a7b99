"""Brings a service's database to its newest schema; safe twice, and side by side."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from shared.database import TIMEOUTS

# Any number will do, as long as all who migrate one database agree on it.
_LOCK = 7_120_413


def migrate(engine: sa.Engine, scripts: Path) -> str:
    """Run the Alembic scripts in `scripts` up to head; return the revision reached.

    One transaction holds an advisory lock: a second migrator waits, then finds nothing to do,
    and a failed migration leaves the schema as it was. The role that migrates is the functions'
    own: it begins each session in this database with their timeouts from then on, also where a
    connection cannot ask for them itself (`shared.database`, `via=proxy`).
    """
    config = Config()
    config.set_main_option("script_location", str(scripts))
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(sa.text("SET LOCAL statement_timeout = '60s'"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        here = connection.dialect.identifier_preparer.quote(
            connection.execute(sa.select(sa.func.current_database())).scalar_one()
        )
        for name, value in TIMEOUTS.items():
            connection.execute(
                sa.text(f"ALTER ROLE CURRENT_USER IN DATABASE {here} SET {name} TO '{value}'")
            )
        revision = MigrationContext.configure(connection).get_current_revision()
    return revision or "empty"
