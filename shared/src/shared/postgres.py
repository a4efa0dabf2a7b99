"""pg8000 for a function: one flight a statement, and errors named by their SQLSTATE.

pg8000 is pure Python: it costs a cold start less than psycopg, and takes a tenth of its room in
the zip (ADR 0013). Left as it is, it makes four round trips of one statement: BEGIN, PARSE,
DESCRIBE, EXECUTE. Here all of it leaves together, and the answers are read together. That reaches
into pg8000, so its version is pinned; `shared/tests/test_postgres.py` counts flights on the wire.

Protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
"""

# ruff: noqa: E402, SLF001 (imports are put off first; pg8000's private names are the point)

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import batched
from types import ModuleType
from typing import Any

from shared.later import later

later("scramp")  # for a login by password

from pg8000 import core, dbapi
from pg8000.converters import make_params
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGIdentifierPreparer
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000

_TIMESTAMPTZ = 1184
_DEFAULT_LEVEL = "READ COMMITTED"
# Their answers fit into the 8 KiB that the server keeps back until it is asked: so it never waits
# for us to read while we wait for it.
_ROWS_A_FLIGHT = 300

# By the first two characters of SQLSTATE, as psycopg has it; any other is a ProgrammingError.
_CLASSES: dict[str, type[Exception]] = {
    **dict.fromkeys(("08", "28", "40", "53", "54", "55", "57", "58"), dbapi.OperationalError),
    **dict.fromkeys(("24", "25", "2D", "39", "XX"), dbapi.InternalError),
    "0A": dbapi.NotSupportedError,
    "22": dbapi.DataError,
    "23": dbapi.IntegrityError,
}


def _fault(class_: type[Exception], text: str, *, sqlstate: str = "", lost: bool) -> Any:
    fault: Any = class_(text)
    fault.sqlstate = sqlstate
    fault.lost = lost
    return fault


class Connection(dbapi.Connection):  # type: ignore[misc]
    """A connection. Its errors have a `sqlstate`, and say whether the connection is `lost`."""

    begin = "BEGIN"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)
        except (dbapi.InterfaceError, OSError) as error:
            raise _fault(dbapi.OperationalError, str(error), lost=True) from error
        # The limit was for connecting. Statements have the server's own, which a migration lifts.
        self._usock.settimeout(None)
        # It reads what the server writes in a fraction of the time of pg8000's patterns.
        self.register_in_adapter(_TIMESTAMPTZ, datetime.fromisoformat)

    def cursor(self) -> "Cursor":
        """Return a cursor."""
        return Cursor(self)

    def close(self) -> None:
        """Close; what the server has closed already is closed."""
        stream = self._sock
        with suppress(dbapi.InterfaceError, OSError):
            super().close()
        if stream is not None:
            # pg8000 leaves it, and with it the socket, to whoever collects the garbage.
            with suppress(OSError):
                stream.close()

    def ping(self) -> None:
        """Make one round trip, outside any transaction; raise OperationalError if it fails."""
        self.fly("")

    def execute_unnamed(
        self, statement: str, vals: Any = (), oids: Any = (), stream: Any = None
    ) -> Any:
        """Do what pg8000 does (COMMIT and ROLLBACK come this way), in one flight."""
        if stream is not None:
            return super().execute_unnamed(statement, vals=vals, oids=oids, stream=stream)
        return self.fly(statement)

    def fly(
        self, statement: str, rows: Sequence[Sequence[Any]] = (), *, begin: bool = False
    ) -> Any:
        """Execute the statement, once with each row of values; return pg8000's context of it.

        Everything is sent before anything is read, and what follows an error is not executed:
        without a BEGIN no statement. Without rows the text may be several statements.
        """
        context = core.Context(statement)
        try:
            if rows:
                self._send_rows(statement, rows, begin=begin)
            else:
                self.send_QUERY(f"{self.begin};{statement}" if begin else statement)
            core._flush(self._sock)
            self.handle_messages(context)
        except (dbapi.InterfaceError, OSError) as error:
            if error is context.error:
                raise
            # The server's last words, if it had any, say more than that nothing followed them.
            lost = _fault(dbapi.OperationalError, f"connection lost: {error}", lost=True)
            raise (context.error or lost) from error
        return context

    def _send_rows(self, statement: str, rows: Sequence[Sequence[Any]], *, begin: bool) -> None:
        if begin:
            self._send_parse(self.begin)
            self._send_bind(())
            core._write(self._sock, core.EXECUTE_MSG)
        self._send_parse(statement)
        for at, row in enumerate(rows):
            self._send_bind(make_params(self.py_types, row))
            if at == 0:
                self._send_message(core.DESCRIBE, core.PORTAL + core.NULL_BYTE)
            core._write(self._sock, core.EXECUTE_MSG)
        core._write(self._sock, core.SYNC_MSG)

    # As pg8000's own, without the FLUSH that makes the server answer at once.

    def _send_parse(self, statement: str) -> None:
        self._send_message(core.PARSE, b"\x00%b\x00\x00\x00" % statement.encode())

    def _send_bind(self, values: Sequence[str | None]) -> None:
        parts = [b"\x00\x00\x00\x00", core.H_pack(len(values))]
        for value in values:
            content = None if value is None else value.encode()
            parts.append(core.i_pack(-1 if content is None else len(content)))
            parts.append(content or b"")
        parts.append(b"\x00\x00")
        self._send_message(core.BIND, b"".join(parts))

    def handle_ERROR_RESPONSE(self, data: bytes, context: Any) -> None:  # noqa: N802
        """Name the error by its SQLSTATE. After a FATAL one the server hangs up."""
        fields = {part[:1]: part[1:].decode(errors="replace") for part in data.split(b"\x00")}
        code = fields.get(b"C", "")
        lost = fields.get(b"V") in {"FATAL", "PANIC"}
        text = f"{fields.get(b'M', '')} (SQLSTATE {code})"
        if detail := fields.get(b"D"):
            text += f"\n{detail}"
        named = _CLASSES.get(code[:2], dbapi.ProgrammingError)
        class_ = dbapi.OperationalError if lost else named
        context.error = _fault(class_, text, sqlstate=code, lost=lost)


class Cursor(dbapi.Cursor):  # type: ignore[misc]
    """A cursor for statements whose parameters are written as the server wants them: $1, $2."""

    def execute(self, operation: str, args: Sequence[Any] = (), stream: Any = None) -> None:
        """Execute, and begin a transaction with it where there is none."""
        if stream is None:
            self._fly(operation, [args] if args else [])
        else:
            super().execute(operation, args, stream=stream)

    def executemany(self, operation: str, param_sets: Sequence[Sequence[Any]]) -> None:
        """Execute with each set; they share flights, and none waits for the one before it."""
        count = 0
        for rows in batched(param_sets, _ROWS_A_FLIGHT, strict=False):
            self._fly(operation, rows)
            self._context.row_count = count = count + self._context.row_count

    def _fly(self, operation: str, rows: Sequence[Sequence[Any]]) -> None:
        connection = self._c
        begin = not (connection.autocommit or connection._in_transaction)
        self._context = connection.fly(operation, rows, begin=begin)
        self._row_iter = None if self._context.rows is None else iter(self._context.rows)


class Dialect(PGDialect_pg8000):
    """SQLAlchemy's dialect for pg8000, without the questions that it asks beside a statement."""

    driver = "oneflight"
    supports_statement_cache = True
    # The server's own: pg8000 would scan every statement, one character at a time, to make it.
    default_paramstyle = "numeric_dollar"
    statement_compiler = PGCompiler
    preparer = PGIdentifierPreparer

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """Return pg8000's module, with this connection."""
        module = ModuleType(__name__)
        ours = {"connect": Connection, "paramstyle": cls.default_paramstyle}
        vars(module).update({**vars(dbapi), **ours})
        return module

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        # The server said it when the connection was made; so with what follows.
        told = connection.connection.dbapi_connection.parameter_statuses
        return tuple(int(part) for part in re.findall(r"\d+", told["server_version"])[:2])

    def _set_backslash_escapes(self, connection: Any) -> None:
        told = connection.connection.dbapi_connection.parameter_statuses
        self._backslash_escapes = told["standard_conforming_strings"] == "off"

    def get_default_isolation_level(self, _connection: Any) -> str:
        """Name what a transaction has that asks for nothing."""
        return _DEFAULT_LEVEL

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """Set what the next transaction begins with; the server learns of it then."""
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        asks = level not in {"AUTOCOMMIT", _DEFAULT_LEVEL}
        dbapi_connection.begin = f"BEGIN ISOLATION LEVEL {level}" if asks else "BEGIN"

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Make one round trip that begins no transaction."""
        dbapi_connection.ping()
        return True

    def is_disconnect(self, error: Any, _connection: Any, _cursor: Any) -> bool:
        """Say whether the connection can be used no more."""
        return bool(getattr(error, "lost", False))
