"""The Postgres engine, one per execution environment: how it connects, and what it does when stale.

A database's URL says how to connect beside where, so that a stage differs in one setting only:

    postgresql+psycopg://user[:password]@host:port/database?via=proxy&auth=iam&sslmode=verify-full

`via=direct` (the default): straight to the server.

- One connection, kept: an environment serves one request at a time, so one is all it can use, and
  a new one costs more than most requests. So many environments, so many connections, and never
  more: what bounds a function's concurrency bounds its connections.
- The timeouts ride on the connection's start, at no round trip. Statements and lock waits end
  before the shortest function does: the database gives up before Lambda kills us, and says why.
- A prepared statement is planned once. Left to itself, Postgres plans those with arrays anew at
  each call, which takes longer than to carry them out; tests hold the plans of all statements.

`via=proxy`: RDS Proxy, or another pooler that shares its connections between transactions.

- One connection to the proxy, kept as well: it lends the server's own for a transaction only, so an
  idle one costs the server nothing, and a new one would cost each request TLS and a log-in.
- Nothing that would pin a server's connection to us until we hang up, which is what the proxy is
  there to avoid: no prepared statements, no SET, no temporary tables, no session locks.
- No start-up options, which RDS Proxy refuses. The timeouts are the role's own defaults in the
  database; `shared.migrations` sets them.

`auth=iam`: RDS's tokens in place of a password.

- A token opens connections for 15 minutes, and an environment lives for hours: each new connection
  gets a fresh one. Signing it calls nobody; what signs is imported only here.
- A token is a password: it leaves over TLS only. `sslmode` is `require` unless the URL asks for
  more; less is refused.
"""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from shared.errors import BadSetting

TIMEOUTS = {
    "statement_timeout": "8000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "15000",
    "timezone": "UTC",
}
"""Of each session, in milliseconds: the shortest function that uses a database has 10 seconds."""

PLANNING = {"plan_cache_mode": "force_generic_plan"}
"""Of each session that prepares statements."""

CONNECT_SECONDS = 3
"""How long one attempt to connect may take."""
PATIENCE_SECONDS = 2.0
"""No attempt begins later: a restart takes a second or two, and the caller's time is limited."""
TRUSTED_SECONDS = 30.0
"""A connection that was idle for longer is asked whether it lives, which costs a round trip."""
SILENCE_MILLISECONDS = 4000
"""A server that acknowledges nothing for so long is gone; TCP itself would wait 15 minutes."""

_SAFE = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Database:
    """Where a database is, and how to reach it; read once, from its URL."""

    url: sa.URL
    via: str
    auth: str

    @classmethod
    def at(cls, text: str) -> "Database":
        """Read a URL; raise BadSetting naming the parameter that is wrong."""
        try:
            url = sa.make_url(text)
        except sa.exc.ArgumentError as error:
            # The text holds a password, and stays out of the message.
            raise BadSetting("database URL: not of the form driver://user@host/name") from error
        via = _choice(url, "via", "direct", "proxy")
        auth = _choice(url, "auth", "password", "iam")
        if auth == "iam":
            for part in ("host", "username"):
                if not getattr(url, part):
                    raise BadSetting(f"database URL: auth=iam needs a {part}")
            url = url.update_query_dict({"sslmode": _choice(url, "sslmode", *_SAFE)})
        return cls(url.difference_update_query(["via", "auth"]), via, auth)

    def connect_args(self) -> dict[str, Any]:
        """Return what the driver is told beside the URL."""
        args: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": SILENCE_MILLISECONDS,
        }
        if self.via == "proxy":
            return args | {"prepare_threshold": None}
        return args | {
            "options": " ".join(
                f"-c {name}={value}" for name, value in (TIMEOUTS | PLANNING).items()
            )
        }


def engine(url: str) -> sa.Engine:
    """Return an engine for `url`, as this module's text says; raise BadSetting for a faulty one.

    A stale connection costs a new one and no error: see `_Freshness` and `_Connector`.
    """
    database = Database.at(url)
    made = sa.create_engine(
        database.url,
        pool_size=1,
        max_overflow=0,
        # We map no hstore, and looking for its type costs each new environment a round trip.
        use_native_hstore=False,
        connect_args=database.connect_args(),
    )
    connects(made, database)
    freshness = _Freshness(made.dialect)
    event.listen(made, "checkin", freshness.left)
    event.listen(made, "checkout", freshness.checked)
    return made


def connects(made: sa.Engine, database: Database) -> None:
    """Let `made` connect with patience, and with a token where `database` asks for one."""
    token = _iam_token(database.url) if database.auth == "iam" else None
    event.listen(made, "do_connect", _Connector(token))


class _Freshness:
    """Looks whether a kept connection still lives, without asking the server each time.

    A server that went away while the environment was frozen has said so: the end of the stream, or
    its last words, wait in our socket. Looking there takes microseconds, where a ping before each
    use takes a round trip. Only a server that vanished without a word is missed, so what was idle
    for long is asked after all.
    """

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect

    def left(self, _connection: Any, record: Any) -> None:
        # The wall's clock: the other one may stand still while an environment is frozen.
        record.info["left_at"] = time.time()

    def checked(self, connection: Any, record: Any, _fairy: Any) -> None:
        """Raise DisconnectionError, at which the pool connects anew, if the connection is dead."""
        left_at = record.info.get("left_at")
        if left_at is None:
            return  # it was opened just now
        if 0 <= time.time() - left_at < TRUSTED_SECONDS and not _has_news(connection):
            return
        try:
            self._dialect.do_ping(connection)
        except self._dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("the server hung up while nobody looked") from error


def _has_news(connection: Any) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Connector:
    """Connects, and waits for a server that is restarting, within limits.

    The driver does not tell "refused" from "starting up" but in words, so every failure is tried
    again. An outage is waited for once: a batch of ten messages must not wait ten times.
    """

    def __init__(self, token: Callable[[], str] | None) -> None:
        self._token = token
        self._failed = False

    def __call__(self, dialect: sa.Dialect, _record: Any, args: Any, options: Any) -> Any:
        start, pause = time.monotonic(), 0.05
        while True:
            if self._token:
                options["password"] = self._token()
            try:
                connection = dialect.connect(*args, **options)
            except dialect.loaded_dbapi.OperationalError:
                if self._failed or time.monotonic() - start + pause > PATIENCE_SECONDS:
                    self._failed = True
                    raise
            else:
                self._failed = False
                return connection
            time.sleep(pause)
            pause *= 2


def _choice(url: sa.URL, name: str, *allowed: str) -> str:
    """Return the URL's parameter `name`; the first of `allowed` if it has none."""
    value = url.query.get(name, allowed[0])
    if value not in allowed:
        raise BadSetting(f"database URL: {name} must be {' or '.join(allowed)}, not {value!r}")
    return str(value)


def _iam_token(url: sa.URL) -> Callable[[], str]:
    """Return what signs a fresh token; the function's own role and region say who we are.

    What boto3's RDS client does in `generate_db_auth_token`, without the client: loading RDS's
    whole API to sign one URL would take longer than all else in a cold start.
    """
    from botocore.awsrequest import prepare_request_dict  # noqa: PLC0415
    from botocore.model import ServiceId  # noqa: PLC0415
    from botocore.session import get_session  # noqa: PLC0415
    from botocore.signers import RequestSigner  # noqa: PLC0415

    session = get_session()
    region = session.get_config_variable("region")
    if not region:
        raise BadSetting("AWS_DEFAULT_REGION: auth=iam signs for a region")
    credentials = session.get_credentials()
    if credentials is None:
        raise BadSetting("AWS credentials: auth=iam signs with them, and there are none")
    emitter = session.get_component("event_emitter")

    def token() -> str:
        # Made each time: a signer holds its emitter by a weak reference only.
        signer = RequestSigner(ServiceId("rds"), region, "rds-db", "v4", credentials, emitter)
        request = {
            "url_path": "/",
            "query_string": "",
            "headers": {},
            "body": {"Action": "connect", "DBUser": url.username},
            "method": "GET",
        }
        prepare_request_dict(request, f"https://{url.host}:{url.port or 5432}")
        signed: str = signer.generate_presigned_url(
            request, "connect", region_name=region, expires_in=900, signing_name="rds-db"
        )
        return signed.removeprefix("https://")

    return token
