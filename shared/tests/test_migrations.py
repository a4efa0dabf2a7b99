"""Migrations are safe twice and side by side, and a failed one leaves the schema as it was."""

import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared.migrations import migrate
from tests.support.postgres import database, second

ENV = """
from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
"""


def script(revision: str, after: str | None, *statements: str) -> str:
    body = "\n".join(f"    op.execute({statement!r})" for statement in statements)
    return (
        textwrap.dedent(f"""\
        from alembic import op

        revision = {revision!r}
        down_revision = {after!r}


        def upgrade() -> None:
        """)
        + f"{body}\n"
    )


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Return a service's migrations: one table, made slowly enough to be overtaken."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    (tmp_path / "versions/0001_parcels.py").write_text(
        script("0001", None, "SELECT pg_sleep(0.3)", "CREATE TABLE parcels (id integer)")
    )
    return tmp_path


@pytest.fixture
def empty() -> Iterator[sa.Engine]:
    with database(None) as engine:
        yield engine


def test_migrating_twice_is_safe_and_names_the_revision(empty: sa.Engine, scripts: Path) -> None:
    assert [migrate(empty, scripts) for _ in range(2)] == ["0001", "0001"]
    assert _tables(empty) == {"parcels", "alembic_version"}


def test_migrating_side_by_side_is_safe(empty: sa.Engine, scripts: Path) -> None:
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        engines = [empty, *(stack.enter_context(second(empty)) for _ in range(3))]
        assert list(pool.map(lambda each: migrate(each, scripts), engines)) == ["0001"] * 4
    assert _tables(empty) == {"parcels", "alembic_version"}


def test_a_failed_migration_leaves_the_schema_as_it_was(empty: sa.Engine, scripts: Path) -> None:
    migrate(empty, scripts)
    broken = scripts / "versions/0002_broken.py"
    broken.write_text(script("0002", "0001", "CREATE TABLE half (id integer)", "CREATE nonsense"))
    with pytest.raises(sa.exc.ProgrammingError):
        migrate(empty, scripts)
    assert "half" not in _tables(empty)
    broken.write_text(script("0002", "0001", "CREATE TABLE half (id integer)"))
    assert migrate(empty, scripts) == "0002"


def _tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())
