"""A real Postgres for integration tests.

A service's `tests/integration/conftest.py` says which schema it wants:

    @pytest.fixture(scope="session")
    def postgres() -> Iterator[Engine]:
        with database(MIGRATIONS) as engine:
            yield engine

One server a test process: a throw-away one, or the one that ORDERFLOW_TEST_POSTGRES names
(`host:port`, where `postgres` may log in without a password). Each `database` is fresh, and
dropped at the end.
"""

import atexit
import functools
import os
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from shared.database import engine as make_engine
from shared.migrations import migrate

_ROOT = Path(__file__).parents[2]


@functools.cache
def server() -> str:
    """Return `host:port` of this process's server, starting it at the first call."""
    return os.environ.get("ORDERFLOW_TEST_POSTGRES") or _start()


@contextmanager
def database(scripts: Path | None) -> Iterator[sa.Engine]:
    """Create a database, run the Alembic scripts in `scripts` (None: leave it empty), drop it.

    The engine is the one that a function has: a single connection. A test that wants to act at
    the same time as another makes its own with `second(engine)`.
    """
    with _fresh("") as engine:
        if scripts:
            migrate(engine, scripts)
        yield engine


@contextmanager
def copy_of(engine: sa.Engine) -> Iterator[sa.Engine]:
    """Create a database that holds what the engine's does, drop it at the end: to break it."""
    engine.dispose()  # A template must have no connections.
    with _fresh(f"TEMPLATE {engine.url.database}") as copy:
        yield copy


@contextmanager
def _fresh(template: str) -> Iterator[sa.Engine]:
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(_url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} {template}"))
        # As in the local cloud.
        connection.execute(sa.text(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"))
        connection.execute(sa.text(f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO auditor"))
    engine = make_engine(_url(name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            # FORCE: a test that failed may have left a connection open.
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@contextmanager
def second(engine: sa.Engine) -> Iterator[sa.Engine]:
    """Return another engine on the same database, as a second execution environment has."""
    other = make_engine(url_of(engine))
    try:
        yield other
    finally:
        other.dispose()


def url_of(engine: sa.Engine) -> str:
    """Return the engine's URL as a function's DATABASE_URL setting."""
    return engine.url.render_as_string(hide_password=False)


def auditor_url(engine: sa.Engine) -> str:
    """Return the URL of the same database for the role that may only read."""
    return engine.url.set(username="auditor").render_as_string(hide_password=False)


def _url(name: str) -> str:
    return f"postgresql+psycopg://postgres@{server()}/{name}"


class Server:
    """One throw-away server: `address` is its `host:port`, `folder` holds its data."""

    def __init__(self) -> None:
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        self.folder = Path(tempfile.mkdtemp(prefix="orderflow-postgres-"))
        python = os.environ.get("ORDERFLOW_CLOUD_PYTHON") or _ROOT / ".local/venvs/cloud/bin/python"
        program = str(Path(__file__).with_name("serve_postgres.py"))
        self._process = subprocess.Popen(
            [str(python), program, str(self.folder), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            # Of its own, so that Ctrl-C passes it by until the tests have finished with it.
            start_new_session=True,
        )
        atexit.register(self.stop)
        self._await_ready()

    def url(self, name: str = "postgres", user: str = "postgres") -> str:
        """Return a URL as a function's DATABASE_URL setting."""
        return f"postgresql+psycopg://{user}@{self.address}/{name}"

    def restart(self) -> None:
        """Stop and start it: every connection is lost, what was committed is not."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"restart\n")
        self._process.stdin.flush()
        self._await_ready()

    def stop(self) -> None:
        """End it for good; twice is safe."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"Postgres did not start; see above and {self.folder}/logs")


def _start() -> str:
    address = Server().address
    _hurry(address)
    return address


def _hurry(address: str) -> None:
    """Wait for no disk: a throw-away server need not survive the machine's crash."""
    admin = sa.create_engine(
        f"postgresql+psycopg://postgres@{address}/postgres",
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )
    with admin.connect() as connection:
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
