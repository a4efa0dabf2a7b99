"""A real Postgres with an outbox in it."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from shared.outbox import outbox_table
from tests.support.postgres import database

metadata = sa.MetaData()
TABLE = outbox_table(metadata)


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.Engine]:
    with database(None) as engine:
        metadata.create_all(engine)
        yield engine


@pytest.fixture
def table(postgres: sa.Engine) -> sa.Table:
    """Return the outbox, empty: `relay` takes whatever lies in it."""
    with postgres.begin() as connection:
        connection.execute(sa.delete(TABLE))
    return TABLE
