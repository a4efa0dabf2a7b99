"""Connections: what is configured for whom, and what a stale one costs."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import sqlalchemy as sa

from shared import database
from shared.database import Database, engine
from shared.errors import BadSetting
from shared.migrations import migrate
from tests.support.polling import eventually
from tests.support.postgres import Server, second, url_of
from tests.support.postgres import database as fresh_database
from tests.support.relay import Relay, relay

PLAIN = "postgresql+psycopg://orders:secret@db.example/orders"
MANY = 100


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a server of these tests' own, which they may restart."""
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def counted(postgres: sa.Engine) -> Iterator[tuple[sa.Engine, Relay]]:
    """Return a function's engine on the database, and the relay on its way."""
    with relay(f"{postgres.url.host}:{postgres.url.port}") as between:
        host, _, port = between.address.partition(":")
        url = postgres.url.set(host=host, port=int(port))
        made = engine(url.render_as_string(hide_password=False))
        yield made, between
        made.dispose()


def answer(connection_of: sa.Engine) -> int:
    """Return the number of the server process that answers one autocommitted statement."""
    with connection_of.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        return int(connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one())


# What the URL says


def test_a_url_that_says_nothing_means_a_direct_connection_with_a_password() -> None:
    read = Database.at(PLAIN)
    assert (read.via, read.auth) == ("direct", "password")
    assert "statement_timeout=8000" in read.connect_args()["options"]
    assert "prepare_threshold" not in read.connect_args()


def test_behind_a_proxy_nothing_pins_a_connection() -> None:
    read = Database.at(PLAIN + "?via=proxy&sslmode=verify-full")
    assert read.connect_args()["prepare_threshold"] is None
    assert "options" not in read.connect_args()
    # The driver gets what is its own, and no word of ours.
    assert dict(read.url.query) == {"sslmode": "verify-full"}


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (PLAIN + "?via=prxy", "via must be direct or proxy, not 'prxy'"),
        (PLAIN + "?auth=aim", "auth must be password or iam, not 'aim'"),
        (PLAIN + "?via=proxy&via=direct", "via must be"),
        (PLAIN + "?auth=iam&sslmode=prefer", "sslmode must be require or .*, not 'prefer'"),
        ("postgresql+psycopg:///orders?auth=iam", "auth=iam needs a host"),
        ("postgresql+psycopg://db.example/orders?auth=iam", "auth=iam needs a username"),
        ("orders:secret@db.example", "not of the form"),
    ],
)
def test_a_faulty_url_is_refused_by_name_and_tells_no_secret(url: str, named: str) -> None:
    with pytest.raises(BadSetting, match=f"^database URL: {named}") as refused:
        engine(url)
    assert "secret" not in str(refused.value)


# Round trips


def test_a_statement_on_a_kept_connection_is_one_round_trip(
    counted: tuple[sa.Engine, Relay],
) -> None:
    made, between = counted
    answer(made)
    before = between.round_trips
    answer(made)
    assert between.round_trips - before == 1


def test_a_connection_that_was_idle_for_long_is_asked_once(
    counted: tuple[sa.Engine, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, between = counted
    answer(made)
    monkeypatch.setattr(database, "TRUSTED_SECONDS", 0.0)
    before = between.round_trips
    answer(made)
    assert between.round_trips - before == 2


def test_a_prepared_statement_is_planned_once(postgres: sa.Engine) -> None:
    # Postgres would rather plan this one anew each time: it guesses that an array has ten items.
    made = engine(url_of(postgres))
    some = sa.text("SELECT count(*) FROM pg_class WHERE oid = ANY(CAST(:some AS oid[]))")
    plans = sa.text(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements"
        " WHERE statement LIKE '%oid%'"
    )
    with made.connect() as connection:
        for _ in range(20):
            connection.execute(some, {"some": [1]})
        ((once_for_all, anew),) = connection.execute(plans).all()
    made.dispose()
    assert once_for_all >= 10
    assert anew == 0


# Stale connections


def test_a_restart_of_the_database_between_two_calls_is_no_error(server: Server) -> None:
    made = engine(server.url())
    first = answer(made)
    server.restart()
    assert answer(made) != first
    made.dispose()


def test_a_connection_that_the_server_ended_is_replaced(postgres: sa.Engine) -> None:
    with second(postgres) as made:
        first = answer(made)
        with postgres.begin() as connection:
            # Waits until it has ended.
            kill = sa.select(sa.func.pg_terminate_backend(first, 5000))
            assert connection.execute(kill).scalar_one()
        assert answer(made) != first
        # And a transaction is as well served as a single statement.
        first = answer(made)
        with postgres.begin() as connection:
            assert connection.execute(
                sa.select(sa.func.pg_terminate_backend(first, 5000))
            ).scalar_one()
        with made.begin() as connection:
            pid = connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
        assert pid != first


def test_an_idle_connection_that_is_told_something_is_kept(
    counted: tuple[sa.Engine, Relay], postgres: sa.Engine
) -> None:
    made, between = counted
    autocommit = made.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.execute(sa.text("LISTEN news"))
        listening = connection.connection.driver_connection
    first = answer(made)
    with postgres.begin() as connection:
        connection.execute(sa.text("NOTIFY news"))
    eventually(lambda: database._has_news(listening), "the news arrive")
    before = between.round_trips
    assert answer(made) == first
    assert between.round_trips - before == 2  # asked, since it had news, and then used


def test_a_server_that_is_still_starting_is_waited_for(server: Server) -> None:
    made = engine(server.url())
    answer(made)
    with_restart = threading.Thread(target=server.restart)
    with_restart.start()
    # Whenever the call falls into the restart, it is answered: but for one that was under way.
    for _ in range(20):
        answer_or_reset(made)
    with_restart.join()
    assert answer(made)
    made.dispose()


def answer_or_reset(made: sa.Engine) -> None:
    try:
        answer(made)
    except sa.exc.OperationalError as error:
        # Sent, and then lost: the caller does not know, so it is not ours to send it again.
        assert error.connection_invalidated or "terminating connection" in str(error)  # noqa: PT017


def test_an_outage_is_waited_for_once_and_not_by_each_call() -> None:
    made = engine("postgresql+psycopg://orders@127.0.0.1:1/orders")
    attempts: list[int] = []
    connect = made.dialect.connect

    def counting(*args: object, **kwargs: object) -> object:
        attempts.append(1)
        return connect(*args, **kwargs)

    made.dialect.connect = counting  # type: ignore[assignment]
    for expected in (range(4, 20), range(1, 2)):
        attempts.clear()
        with pytest.raises(sa.exc.OperationalError, match="refused"):
            answer(made)
        assert len(attempts) in expected


# How many


def test_a_hundred_environments_hold_a_hundred_connections_and_never_more(
    postgres: sa.Engine,
) -> None:
    with ExitStack() as stack:
        environments = [stack.enter_context(second(postgres)) for _ in range(MANY)]
        seen: set[int] = set()
        for _ in range(3):
            pids = at_once([partial(answer, made) for made in environments])
            assert len(set(pids)) == MANY
            seen |= set(pids)
            assert held(postgres) == MANY
        # The same hundred each time: nobody hung up, nobody opened a second one.
        assert len(seen) == MANY


def test_an_environment_cannot_take_a_second_connection(postgres: sa.Engine) -> None:
    with second(postgres) as made, made.connect():
        made.pool._timeout = 0.1  # type: ignore[attr-defined]
        with pytest.raises(sa.exc.TimeoutError):
            made.connect()


def held(postgres: sa.Engine) -> int:
    """Return how many connections the database has, besides the one that asks."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with postgres.begin() as connection:
        return int(connection.execute(query).scalar_one())


def at_once(actions: list[Callable[[], int]]) -> list[int]:
    results: list[int] = []
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], int]) -> None:
        barrier.wait(60)
        results.append(action())

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


# Timeouts


@pytest.mark.parametrize("via", ["direct", "proxy"])
def test_the_functions_timeouts_hold_however_they_connect(via: str, tmp_path: Path) -> None:
    (tmp_path / "env.py").write_text("")
    with fresh_database(None) as empty:
        migrate(empty, tmp_path)
        made = engine(url_of(empty) + f"?via={via}")
        with made.connect() as connection:
            for name, value in {
                "statement_timeout": "8s",
                "lock_timeout": "5s",
                "idle_in_transaction_session_timeout": "15s",
                "timezone": "UTC",
            }.items():
                assert connection.execute(sa.text(f"SHOW {name}")).scalar_one() == value
        made.dispose()


def test_behind_a_proxy_no_statement_is_ever_prepared(postgres: sa.Engine) -> None:
    for via, prepared in (("direct", True), ("proxy", False)):
        made = engine(url_of(postgres) + f"?via={via}")
        for _ in range(10):
            answer(made)
        with made.connect() as connection:
            count = sa.text("SELECT count(*) FROM pg_prepared_statements")
            assert (connection.execute(count).scalar_one() > 0) is prepared
        made.dispose()


# IAM


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the function credentials and a region, as Lambda does."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "AWS_SESSION_TOKEN": "session",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("role")
def test_a_token_is_what_boto3s_own_client_would_sign() -> None:
    ours = database._iam_token(sa.make_url("postgresql://orders@db.example:6432/orders"))
    theirs = boto3.client("rds").generate_db_auth_token

    def pair() -> bool:
        # Both sign the second; try again on the edge of one.
        return bool(ours() == theirs(DBHostname="db.example", Port=6432, DBUsername="orders"))

    eventually(pair, "both sign alike")
    parts = parse_qs(urlsplit("https://" + ours()).query)
    assert parts["DBUser"] == ["orders"]
    assert parts["X-Amz-Expires"] == ["900"]
    assert "eu-central-1/rds-db" in parts["X-Amz-Credential"][0]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=127.0.0.1", "-keyout", file, "-out", tmp_path / "only.pem"),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(file.read_bytes() + (tmp_path / "only.pem").read_bytes())
    return file


@pytest.mark.usefixtures("role")
def test_every_new_connection_logs_in_with_a_token_of_its_own_over_tls(
    server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = sa.create_engine(server.url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text("CREATE ROLE token_holder LOGIN"))
        hba = Path(connection.execute(sa.text("SHOW hba_file")).scalar_one())
        hba.write_text("host all token_holder all password\n" + hba.read_text())
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    tokens: list[str] = []
    sign = database._iam_token

    def known_to_the_server(url: sa.URL) -> Callable[[], str]:
        """Return the real thing, each of whose tokens is the role's one password from then on."""
        signed = sign(url)

        def token() -> str:
            text = signed()
            tokens.append(text)
            password = f"{text}#{len(tokens)}"  # two of one second are alike
            with admin.connect() as connection:
                connection.execute(sa.text(f"ALTER ROLE token_holder PASSWORD '{password}'"))
            return password

        return token

    monkeypatch.setattr(database, "_iam_token", known_to_the_server)
    with relay(server.address, certificate) as between:
        url = f"postgresql+psycopg://token_holder@{between.address}/postgres?auth=iam"
        made = engine(url)
        first = answer(made)
        assert answer(made) == first
        assert (len(tokens), between.encrypted) == (1, 1)
        with admin.connect() as connection:
            connection.execute(sa.select(sa.func.pg_terminate_backend(first, 5000)))
        assert answer(made) != first
        assert (len(tokens), between.encrypted) == (2, 2)
        made.dispose()
    # The server does check: the same role with another password stays outside.
    with pytest.raises(sa.exc.OperationalError, match="password authentication failed"):
        sa.create_engine(
            f"postgresql+psycopg://token_holder:wrong@{server.address}/postgres",
            poolclass=sa.NullPool,
        ).connect()


@pytest.mark.usefixtures("role")
def test_a_token_goes_to_no_server_without_tls(server: Server) -> None:
    made = engine(f"postgresql+psycopg://postgres@{server.address}/postgres?auth=iam")
    with pytest.raises(sa.exc.OperationalError, match="SSL"):
        answer(made)


def test_without_a_region_or_credentials_iam_fails_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(BadSetting, match=r"^AWS_DEFAULT_REGION"):
        engine(PLAIN + "?auth=iam")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(BadSetting, match=r"^AWS credentials"):
        engine(PLAIN + "?auth=iam")


def test_who_needs_no_token_imports_nothing_that_signs() -> None:
    program = (
        f"import sys; from shared.database import engine; engine({PLAIN!r});"
        "sys.exit('botocore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
