"""The schema: reached twice, side by side, and with every column that the code names."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import sqlalchemy as sa

from orders.adapters.tables import metadata
from shared.migrations import migrate
from tests.support.postgres import database, second

from .conftest import MIGRATIONS


def test_migrating_twice_is_migrating_once() -> None:
    with database(None) as engine:
        assert [migrate(engine, MIGRATIONS) for _ in range(2)] == ["0002", "0002"]


def test_migrating_side_by_side_is_migrating_once() -> None:
    with database(None) as engine, ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        engines = [stack.enter_context(second(engine)) for _ in range(4)]
        revisions = list(pool.map(lambda each: migrate(each, MIGRATIONS), engines))
        assert revisions == ["0002"] * 4


def test_the_tables_have_the_columns_that_the_code_names(postgres: sa.Engine) -> None:
    inspector = sa.inspect(postgres)
    for table in metadata.tables.values():
        found = {
            column["name"]: column["type"].compile(postgres.dialect)
            for column in inspector.get_columns(table.name, schema=table.schema)
        }
        assert found == {each.name: each.type.compile(postgres.dialect) for each in table.columns}
