"""A real Postgres with the orders' schema, and AWS's two edges as one small server."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest
import sqlalchemy as sa

import orders
from orders.adapters.order_book import SqlOrderBook
from orders.adapters.tables import orders as orders_table
from orders.adapters.tables import outbox
from orders.domain import Line, Order, Status
from shared.ids import uuid7
from tests.support.postgres import database, second, url_of

MIGRATIONS = Path(orders.__file__).parent / "migrations"

_PUBLISHED = (
    b'<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    b"<PublishBatchResult><Successful/><Failed/></PublishBatchResult></PublishBatchResponse>"
)
_GONE = b"<ErrorResponse><Error><Code>NotFound</Code></Error></ErrorResponse>"


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.Engine]:
    """Return an engine on a fresh database; tests keep apart by their own orders."""
    with database(MIGRATIONS) as engine:
        yield engine


@pytest.fixture(scope="session")
def engines(postgres: sa.Engine) -> Iterator[list[sa.Engine]]:
    """Return eight engines on the database, as eight execution environments have."""
    with ExitStack() as stack:
        yield [stack.enter_context(second(postgres)) for _ in range(8)]


class World:
    """What tests do to the database, and see in it."""

    def __init__(self, postgres: sa.Engine) -> None:
        self.postgres = postgres
        self.book = SqlOrderBook(postgres)

    def placed(self, *, customer: str = "ada", key: str | None = None) -> UUID:
        """Place an order; return its id."""
        order = an_order(customer=customer)
        assert self.book.place(order, {"order_id": str(order.id)}, key, "hash")
        return order.id

    def standing(self, status: Status) -> UUID:
        """Bring an order to `status` the way the service does; return its id."""
        order_id = self.placed()
        if status is Status.CONFIRMED:
            assert self.book.confirm(order_id) is status
        elif status is Status.PARKED:
            assert self.book.park(order_id, "Release Stock", "Oh", "token") is status
        elif status is not Status.PLACED:
            if status is Status.CANCELLED:
                assert self.book.request_cancel(order_id)
            assert self.book.close(order_id, "DECLINED") is status
        return order_id

    def order(self, order_id: UUID) -> Order:
        """Return the order as it stands."""
        order = self.book.get(order_id)
        assert order
        return order

    def facts(self, order_id: UUID) -> list[str]:
        """Return the types of all that was ever written to the outbox, in order."""
        query = sa.select(outbox.c.type).where(outbox.c.subject == str(order_id))
        return list(self.run(query.order_by(outbox.c.seq)).scalars())

    def waiting(self, order_id: UUID) -> list[str]:
        """Return the types of what is not published yet, in order."""
        query = sa.select(outbox.c.type).where(
            outbox.c.subject == str(order_id), outbox.c.published_at.is_(None)
        )
        return list(self.run(query.order_by(outbox.c.seq)).scalars())

    def age(self, *order_ids: UUID) -> None:
        """Make the orders' outbox rows old enough for the relay."""
        subjects = [str(order_id) for order_id in order_ids]
        long_ago = sa.func.now() - sa.text("interval '1 minute'")
        self.run(
            sa.update(outbox).where(outbox.c.subject.in_(subjects)).values(created_at=long_ago)
        )

    def set_status(self, order_id: UUID, status: Status) -> None:
        """Write a status with no condition at all."""
        closed = status not in {Status.PLACED, Status.PARKED}
        self.run(
            sa.update(orders_table)
            .where(orders_table.c.id == order_id)
            .values(status=status.value, closed_at=sa.func.now() if closed else None)
        )

    def run(self, statement: sa.Executable) -> Any:
        """Execute in a transaction of its own."""
        with self.postgres.begin() as connection:
            result = connection.execute(statement)
            return result.freeze()() if result.returns_rows else result


@pytest.fixture
def world(postgres: sa.Engine) -> World:
    return World(postgres)


def an_order(*, customer: str = "ada", sku: str = "CUP") -> Order:
    """Return an order that nobody has placed yet."""
    return Order(
        id=uuid7(),
        customer_id=customer,
        email="ada@example.com",
        currency="EUR",
        lines=(Line(sku, 2, 900),),
        total=1800,
        status=Status.PLACED,
        version=1,
        placed_at=datetime.now(UTC),
    )


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Run all actions at the same moment, each in a thread; return what they returned."""
    barrier = threading.Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(place: int, action: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[place] = action()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[place] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class FakeAws(ThreadingHTTPServer):
    """Step Functions and SNS, as far as this service calls them; out of order where told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Edge)
        self.executions: dict[str, str] = {}
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.tokens: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.heal()

    def heal(self) -> None:
        """Put everything in order again."""
        self.saga_is_gone = self.topic_is_gone = False
        # Called as AWS is, before and after it has done what it was called for.
        self.before: Callable[[str], object] = lambda _: None
        self.after: Callable[[str], object] = lambda _: None
        self.topic_answers = threading.Event()
        self.topic_answers.set()

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that gave up waiting is what a test wanted."""

    def facts(self, order_id: UUID) -> list[str]:
        """Return the types of the facts published about an order, in order."""
        return [each["type"] for each in self.published if each["subject"] == str(order_id)]


class _Edge(BaseHTTPRequestHandler):
    server: FakeAws
    called: str

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers.get("X-Amz-Target", "")
        self.called = target.split(".")[1] if target else "PublishBatch"
        self.server.before(self.called)
        if target:
            getattr(self, self.called)(json.loads(body))
        elif self.server.topic_is_gone:
            self._answer(404, _GONE)
        else:
            self.server.topic_answers.wait(20)
            form = parse_qs(body.decode())
            self.server.published += [
                json.loads(text) for name, (text,) in form.items() if name.endswith(".Message")
            ]
            self._answer(200, _PUBLISHED)

    def StartExecution(self, call: dict[str, str]) -> None:  # noqa: N802 - AWS's name
        name = call["name"]
        if self.server.saga_is_gone:
            self._refuse("StateMachineDoesNotExist")
        elif self.server.executions.setdefault(name, call["input"]) != call["input"]:
            self._refuse("ExecutionAlreadyExists")
        else:
            self._json({"executionArn": f"arn:{name}", "startDate": 1.0})

    def SendTaskSuccess(self, call: dict[str, str]) -> None:  # noqa: N802 - AWS's name
        if self.server.tokens.get(call["taskToken"], "gone") is not None:
            self._refuse("TaskTimedOut")
        else:
            self.server.tokens[call["taskToken"]] = json.loads(call["output"])
            self._json({})

    def GetExecutionHistory(self, call: dict[str, str]) -> None:  # noqa: N802 - AWS's name
        name = call["executionArn"].rsplit(":", 1)[1]
        if self.server.saga_is_gone:
            self._refuse("AccessDeniedException")
        elif name not in self.server.histories:
            self._refuse("ExecutionDoesNotExist")
        else:
            # Two pages, as AWS gives of a long history.
            events = self.server.histories[name]
            half = len(events) // 2
            more = "nextToken" in call
            page: dict[str, Any] = {"events": events[half:] if more else events[:half]}
            self._json(page if more else page | {"nextToken": "2"})

    def _refuse(self, code: str) -> None:
        self._answer(400, json.dumps({"__type": code, "message": code}).encode())

    def _json(self, content: Any) -> None:
        self._answer(200, json.dumps(content).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.server.after(self.called)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="session")
def _edges(postgres: sa.Engine) -> Iterator[FakeAws]:
    with FakeAws() as server, pytest.MonkeyPatch.context() as environment:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arn = "arn:aws:{}:us-east-1:000000000000:{}"
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "POWERTOOLS_SERVICE_NAME": "orders",
            "POWERTOOLS_METRICS_NAMESPACE": "Orderflow",
            "DATABASE_URL": url_of(postgres),
            "EVENTS_TOPIC_ARN": arn.format("sns", "test-orderflow-events"),
            "PLACE_ORDER_SAGA_ARN": arn.format("states", "stateMachine:test-orderflow-place-order"),
        }
        for name, value in settings.items():
            environment.setenv(name, value)
        yield server
        server.shutdown()


@pytest.fixture
def aws(_edges: FakeAws) -> Iterator[FakeAws]:
    """Return the edges, to which the functions' settings point; healed after each test."""
    yield _edges
    _edges.topic_answers.set()
    _edges.heal()
