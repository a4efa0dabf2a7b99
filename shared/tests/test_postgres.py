"""The driver on a real Postgres: its flights on the wire, its errors, its values."""

import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from shared.database import engine as make_engine
from tests.support.postgres import second, url_of

metadata = sa.MetaData()
THINGS = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("n", sa.BigInteger),
    sa.Column("name", sa.Text),
    sa.Column("body", JSONB),
    sa.Column("tags", sa.ARRAY(sa.Text)),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("done", sa.Boolean),
)


class Wire:
    """Passes bytes between a client and the server, and counts the client's flights.

    A flight is what leaves before the server has answered: so many times the client waits.
    """

    def __init__(self, host: str, port: int) -> None:
        self.flights = 0
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                return
            self._sockets += [client, server]
            self._answered = True
            threading.Thread(target=self._forth, args=(client, server), daemon=True).start()
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        while content := _received(client):
            self.flights += self._answered
            self._answered = False
            with suppress(OSError):
                server.sendall(content)
        server.close()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        while content := _received(server):
            self._answered = True
            with suppress(OSError):
                client.sendall(content)
        client.close()

    def cut(self) -> None:
        """End every connection, without a word, and accept no more."""
        for end in self._sockets:
            # Both directions: a thread may be waiting in it.
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 20)
    except OSError:
        return b""


@pytest.fixture
def wire(postgres: sa.Engine) -> Iterator[Wire]:
    """Return a wire to the server."""
    wire = Wire(postgres.url.host or "", postgres.url.port or 0)
    yield wire
    wire.cut()


@pytest.fixture
def engine(postgres: sa.Engine, wire: Wire) -> Iterator[sa.Engine]:
    """Return an engine on the wire, connected and idle, with an empty table of things."""
    with postgres.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    engine = make_engine(url_of(postgres))
    engine.dispose()
    engine = make_engine(engine.url.set(port=wire.port).render_as_string(hide_password=False))
    with engine.connect() as connection:
        connection.execute(sa.select(THINGS))
    wire.flights = 0
    yield engine
    engine.dispose()


@contextmanager
def flights(wire: Wire, engine: sa.Engine) -> Iterator[tuple[sa.Connection, list[int]]]:
    """Give a connection and, at the end, how many flights went by on it; its check apart."""
    counted: list[int] = []
    with engine.connect() as connection:
        wire.flights = 0
        yield connection, counted
    counted.append(wire.flights)


def test_a_statement_alone_is_one_flight(wire: Wire, engine: sa.Engine) -> None:
    single = engine.execution_options(isolation_level="AUTOCOMMIT")
    with flights(wire, single) as (connection, counted):
        query = sa.select(THINGS).where(THINGS.c.id == uuid.uuid4(), THINGS.c.name == "x")
        assert connection.execute(query).all() == []
    assert counted == [1]


def test_a_transaction_begins_with_its_first_statement_and_ends_in_one_flight(
    wire: Wire, engine: sa.Engine
) -> None:
    with flights(wire, engine) as (connection, counted):
        connection.execute(sa.insert(THINGS).values(id=uuid.uuid4()))
        connection.execute(sa.insert(THINGS).values(id=uuid.uuid4()))
        connection.commit()
    assert counted == [3]


def test_a_transaction_that_is_given_up_is_rolled_back_in_one_flight(
    wire: Wire, engine: sa.Engine
) -> None:
    with flights(wire, engine) as (connection, counted):
        connection.execute(sa.insert(THINGS).values(id=uuid.uuid4()))
    assert counted == [2]
    with engine.connect() as connection:
        assert connection.execute(sa.select(THINGS)).all() == []


def test_many_rows_share_a_flight(wire: Wire, engine: sa.Engine) -> None:
    ids = [uuid.uuid4() for _ in range(600)]
    rows = [{"id": id_, "n": 1} for id_ in ids]
    with flights(wire, engine) as (connection, counted):
        connection.execute(sa.insert(THINGS), rows)
        updated = connection.execute(
            sa.update(THINGS).where(THINGS.c.id == sa.bindparam("key")).values(n=THINGS.c.n + 1),
            [{"key": id_} for id_ in ids],
        )
        assert updated.rowcount == 600
        assert connection.scalar(sa.select(sa.func.sum(THINGS.c.n))) == 1200
    # 500 rows a flight: two to insert, two to update, one to ask, one to roll back.
    assert counted == [6]


def test_a_connection_is_checked_in_one_flight_that_begins_no_transaction(
    wire: Wire, engine: sa.Engine
) -> None:
    with engine.connect():
        assert wire.flights == 1
    assert wire.flights == 1


def test_connecting_asks_one_question_besides_logging_in(postgres: sa.Engine, wire: Wire) -> None:
    url = postgres.url.set(port=wire.port).update_query_dict({"sslmode": "disable"})
    engine = make_engine(url.render_as_string(hide_password=False))
    with engine.connect():
        assert wire.flights == 3  # logging in, the schema's name, the end of that transaction
    engine.dispose()


@pytest.mark.parametrize(
    ("sqlstate", "raised"),
    [
        ("08006", sa.exc.OperationalError),
        ("40001", sa.exc.OperationalError),  # serialization failure
        ("40P01", sa.exc.OperationalError),  # deadlock
        ("53300", sa.exc.OperationalError),  # too many connections
        ("55P03", sa.exc.OperationalError),  # lock not available
        ("57014", sa.exc.OperationalError),  # statement timeout
        ("57P01", sa.exc.OperationalError),  # admin shutdown
        ("58030", sa.exc.OperationalError),
        ("28000", sa.exc.OperationalError),
        ("23505", sa.exc.IntegrityError),
        ("23514", sa.exc.IntegrityError),
        ("22003", sa.exc.DataError),
        ("25006", sa.exc.InternalError),
        ("XX000", sa.exc.InternalError),
        ("0A000", sa.exc.NotSupportedError),
        ("42P01", sa.exc.ProgrammingError),
        ("P0001", sa.exc.ProgrammingError),
    ],
)
def test_an_error_is_named_by_its_sqlstate(
    engine: sa.Engine, sqlstate: str, raised: type[sa.exc.DBAPIError]
) -> None:
    fail = sa.text(f"DO $$ BEGIN RAISE 'oh' USING ERRCODE = '{sqlstate}'; END $$")
    with engine.connect() as connection:
        with pytest.raises(raised, match=f"oh .SQLSTATE {sqlstate}") as caught:
            connection.execute(fail)
        assert type(caught.value) is raised
        assert not caught.value.connection_invalidated
        connection.rollback()
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_a_statement_that_takes_too_long_is_a_fault_and_the_connection_stays(
    engine: sa.Engine,
) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = '20ms'"))
        with pytest.raises(sa.exc.OperationalError, match="statement timeout"):
            connection.execute(sa.text("SELECT pg_sleep(:n)"), {"n": 5})
        connection.rollback()
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_a_server_that_hangs_up_has_its_last_words_heard_and_the_next_call_connects_anew(
    postgres: sa.Engine, engine: sa.Engine
) -> None:
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with second(postgres) as other, other.begin() as killer:
            killer.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(sa.exc.OperationalError, match="SQLSTATE 57P01") as caught:
            connection.execute(sa.text("SELECT 1"))
        assert caught.value.connection_invalidated
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_a_wire_that_is_cut_is_a_lost_connection(wire: Wire, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        wire.cut()
        with pytest.raises(sa.exc.OperationalError, match="connection lost") as caught:
            connection.execute(sa.text("SELECT 1"))
        assert caught.value.connection_invalidated


def test_a_connection_that_died_while_it_was_idle_costs_nothing_but_a_new_one(
    postgres: sa.Engine, engine: sa.Engine
) -> None:
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with second(postgres) as other, other.begin() as killer:
        killer.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) != pid


def test_a_server_that_is_not_there_or_has_no_room_is_a_fault(postgres: sa.Engine) -> None:
    with pytest.raises(sa.exc.OperationalError, match="port 1"):
        make_engine("postgresql://nobody@127.0.0.1:1/none").connect()
    with postgres.begin() as connection:
        connection.execute(sa.text("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0"))
    try:
        url = postgres.url.set(username="crowded").render_as_string(hide_password=False)
        with pytest.raises(sa.exc.OperationalError, match="SQLSTATE 53300"):
            make_engine(url).connect()
    finally:
        with postgres.begin() as connection:
            connection.execute(sa.text("DROP ROLE crowded"))


def test_every_value_comes_back_as_it_was_put(engine: sa.Engine) -> None:
    full = {
        "id": uuid.uuid4(),
        "n": -(2**62),
        "name": "naïve ✓ '\" \\ %s $1 :x 100%",
        "body": {"lines": [{"sku": 'a"b', "quantity": 2}], "none": None, "ü": 1.5},
        "tags": ["a", "b,c", 'd"e', "\\", "", "NULL"],
        "at": datetime(2026, 11, 25, 12, 30, 1, 123456, tzinfo=UTC),
        "done": True,
    }
    whole = {**full, "id": uuid.uuid4(), "at": datetime(2026, 1, 1, tzinfo=UTC), "done": False}
    empty = {**dict.fromkeys(full), "id": uuid.uuid4()}
    empty["body"] = sa.null()
    with engine.begin() as connection:
        for row in (full, whole, empty):
            connection.execute(sa.insert(THINGS).values(row))
        found = {
            row.id: row._asdict()
            for row in connection.execute(
                sa.select(THINGS).where(THINGS.c.id == sa.any_(sa.bindparam("ids"))),
                {"ids": [full["id"], whole["id"], empty["id"]]},
            )
        }
    assert found == {row["id"]: row for row in (full, whole, {**empty, "body": None})}


def test_another_isolation_level_holds_for_its_transaction_alone(engine: sa.Engine) -> None:
    level = sa.text("SHOW transaction_isolation")
    serial = engine.execution_options(isolation_level="SERIALIZABLE")
    with serial.connect() as connection:
        assert connection.scalar(level) == "serializable"
    with engine.connect() as connection:
        assert connection.scalar(level) == "read committed"


def test_several_statements_may_come_as_one_text(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TEMP TABLE a (n int); INSERT INTO a VALUES (1), (2)"))
        assert connection.scalar(sa.text("SELECT count(*) FROM a")) == 2


def test_a_commit_after_a_failed_statement_is_no_success(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT nothing"))
        with pytest.raises(sa.exc.InterfaceError, match="failed transaction"):
            connection.commit()


def test_a_password_is_proved_without_being_sent(postgres: sa.Engine) -> None:
    with postgres.connect() as connection:
        hba = Path(connection.scalar(sa.text("SHOW hba_file")) or "")
    before = hba.read_text()
    autocommit = postgres.execution_options(isolation_level="AUTOCOMMIT")
    try:
        hba.write_text(f"host all careful all scram-sha-256\n{before}")
        with autocommit.connect() as connection:
            connection.execute(sa.text("CREATE ROLE careful LOGIN PASSWORD 'sesame'"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        url = postgres.url.set(username="careful", password="sesame")
        engine = make_engine(url.render_as_string(hide_password=False))
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT current_user")) == "careful"
        engine.dispose()
        wrong = url.set(password="wrong").render_as_string(hide_password=False)
        with pytest.raises(sa.exc.OperationalError, match="password authentication failed"):
            make_engine(wrong).connect()
    finally:
        hba.write_text(before)
        with autocommit.connect() as connection:
            connection.execute(sa.text("DROP ROLE IF EXISTS careful"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))


def test_tls_is_asked_for_by_the_names_that_libpq_has(postgres: sa.Engine) -> None:
    for mode in ("require", "verify-full"):
        url = postgres.url.update_query_dict({"sslmode": mode})
        with pytest.raises(sa.exc.OperationalError, match="refuses SSL"):
            make_engine(url.render_as_string(hide_password=False)).connect()
    with pytest.raises(ValueError, match="sslmode 'verify'"):
        make_engine("postgresql://a@b/c?sslmode=verify")
    with pytest.raises(FileNotFoundError):
        make_engine("postgresql://a@b/c?sslmode=verify-full&sslrootcert=/nowhere.pem")
    assert ssl.OPENSSL_VERSION_INFO >= (3,)
