"""The schema: reached twice, side by side, and the same as the tables that the code declares."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import inventory
from inventory.adapters.tables import metadata
from shared.migrations import migrate
from tests.support.postgres import database, second

MIGRATIONS = Path(inventory.__file__).parent / "migrations"


def test_migrating_twice_is_migrating_once() -> None:
    with database(None) as engine:
        assert [migrate(engine, MIGRATIONS) for _ in range(2)] == ["0002", "0002"]


def test_migrating_side_by_side_is_migrating_once() -> None:
    with database(None) as engine, ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        engines = [stack.enter_context(second(engine)) for _ in range(4)]
        revisions = list(pool.map(lambda each: migrate(each, MIGRATIONS), engines))
        assert revisions == ["0002"] * 4


def test_the_schema_is_what_the_code_thinks_it_is(postgres: sa.Engine) -> None:
    with postgres.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
