"""Where experiments take place: a deployed cloud, its shop, its faults, and what it publishes."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from tests.chaos.cells import after, by_order, hold_rule, rule_for
from tests.chaos.faults import Faults
from tests.chaos.graph import STAGE, Saga
from tests.chaos.queues import dead_letters
from tests.support.cloud import ACCOUNT, REGION, Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop

CONNECTIONS = 10
PACE = 0.5
"""Seconds between two orders at least: sagas that begin together need a process each."""
WATCHER = "chaos"
"""What connections that only look are called: they are not ended on purpose."""

_ORDER = sa.text(
    "SELECT o.status, o.reason, p.step FROM orders o LEFT JOIN parked_orders p ON p.order_id = o.id"
    " WHERE o.id = :id"
)


OUTCOMES = ("resumed", "not_waiting", "not_parked")
"""What resumeOrder answers about an order that there is."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as the database has it; `parked_at` is the step at which it waits now."""

    status: str
    reason: str | None
    parked_at: str | None

    @property
    def closed(self) -> bool:
        """Whether it is closed, and waits for no operator; its saga may go on."""
        return self.status not in ("PLACED", "PARKED") and self.parked_at is None


@dataclass(frozen=True, slots=True)
class Kept:
    """What an order still holds: of the shop's stock, and of its customer's money."""

    reserved: bool
    shipped: bool
    captured: bool


class Facts:
    """Everything published on the events topic while this is open: ids by subject and type."""

    def __init__(self, cloud: Cloud) -> None:
        self._sqs, self._sns = cloud.client("sqs"), cloud.client("sns")
        name = f"{STAGE}-chaos-{unique('facts')}"
        self._url = f"{cloud.endpoint}/queue/{REGION}/{ACCOUNT}/{name}"
        self._sqs.create_queue(QueueName=name)
        self._subscription = self._sns.subscribe(
            TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:{STAGE}-orderflow-events",
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            Attributes={"RawMessageDelivery": "true"},
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        self._seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, name="facts", daemon=True)
        self._thread.start()

    def of(self, subject: str) -> dict[str, int]:
        """Return how many different facts of each type were published about a subject."""
        if self._failure:
            raise RuntimeError("the listener to the facts has died") from self._failure
        with self._lock:
            return {type_: len(ids) for type_, ids in self._seen[subject].items()}

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(30)
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self._url)

    def _listen(self) -> None:
        try:
            while not self._stop.is_set():
                self._take()
        except BaseException as error:  # noqa: BLE001 - told to whoever asks for a fact
            self._failure = error

    def _take(self) -> None:
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=2
        )
        messages = answer.get("Messages", [])
        for message in messages:
            envelope = json.loads(message["Body"])
            with self._lock:
                self._seen[envelope["subject"]][envelope["type"]].add(envelope["id"])
        if messages:
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]}
                    for at, message in enumerate(messages)
                ],
            )


class Ground:
    """What the experiments of one run share; may be used from many threads."""

    def __init__(self, cloud: Cloud, saga: Saga) -> None:
        self.cloud, self.saga = cloud, saga
        self._gate = threading.Lock()
        self.older_letters = frozenset(dead_letters(cloud))
        with ExitStack() as stack:
            self.shop = Shop(cloud, patience=60)  # a busy machine has them too
            stack.callback(self.shop.close)
            self.faults = Faults(cloud)
            stack.callback(self.faults.close)
            self._orders, self._inventory = (
                sa.create_engine(
                    cloud.database_url(service),
                    pool_size=CONNECTIONS,
                    isolation_level="AUTOCOMMIT",
                    connect_args={"application_name": WATCHER},
                )
                for service in ("orders", "inventory")
            )
            stack.callback(self._orders.dispose)
            stack.callback(self._inventory.dispose)
            self.facts = Facts(cloud)
            stack.callback(self.facts.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def shelves(self, count: int, units: int, *, unit_price: int = 250) -> list[str]:
        """Receive so many products of one's own in one delivery; return their skus once listed."""
        run = unique("chaos")
        products = [
            {
                "sku": f"{run}-{at:04}",
                "name": f"Thing {at}",
                "unit_price": unit_price,
                "currency": "EUR",
                "quantity": units,
            }
            for at in range(count)
        ]
        delivery = {"delivery_id": unique("delivery"), "products": products}
        self.cloud.invoke(f"inventory-{STAGE}-receiveStock", delivery)
        skus = [str(product["sku"]) for product in products]
        eventually(lambda: self._listed(skus) == count, f"{count} products are listed", within=120)
        return skus

    def _listed(self, skus: list[str]) -> int:
        with self._orders.connect() as connection:
            query = sa.text("SELECT count(*) FROM catalogue WHERE sku = ANY(:skus)")
            return int(connection.scalar(query, {"skus": skus}) or 0)

    @contextmanager
    def held(self, sku: str, **options: Any) -> Iterator[str]:
        """Place an order whose saga does not pass its first step before the block has ended."""
        with self.faults.during(hold_rule(self.saga, sku)):
            yield self.place(sku, **options)

    @contextmanager
    def unheard(self, name: str, sku: str, **options: Any) -> Iterator[str]:
        """Place an order whose task has taken effect, and answers after the block has ended.

        However late the block begins: the attempts that follow are held like the first.
        """
        task = self.saga.tasks[name]
        with ExitStack() as stack:
            with self.held(sku, **options) as order_id:
                where = by_order(task, order_id)
                rule = rule_for(task, at=after(task), do="hold", where=where, times=None)
                (hold,) = stack.enter_context(self.faults.during(rule))
            eventually(lambda: self.faults.all()[hold]["holding"], f"{name} is held", within=90)
            yield order_id

    def place(self, sku: str, **options: Any) -> str:
        """Place an order for one unit, one after the other: a crowd would only start processes."""
        with self._gate:
            order_id = self.shop.place({sku: 1}, **({"customer": Customer()} | options))
            time.sleep(PACE)
        return order_id

    def order(self, order_id: str) -> Seen:
        """Return an order; much cheaper than asking the API."""
        with self._orders.connect() as connection:
            return Seen(*connection.execute(_ORDER, {"id": order_id}).one())

    def orders(self, ids: Iterable[str]) -> dict[str, Seen]:
        """Return many orders at once."""
        query = sa.text(
            _ORDER.text.replace("SELECT ", "SELECT o.id, ").replace("= :id", "= ANY(:ids)")
        )
        with self._orders.connect() as connection:
            rows = connection.execute(query, {"ids": list(ids)})
            return {str(row[0]): Seen(*row[1:]) for row in rows}

    def kept(self, order_id: str) -> Kept:
        """Return what inventory and the gateway hold for an order."""
        held = "SELECT count(*) FROM {} WHERE order_id = :id AND status = '{}'"
        ledger = "SELECT count(*) FROM sandbox_gateway.ledger WHERE key = :id AND status = '{}'"
        with self._inventory.connect() as inventory, self._orders.connect() as orders:
            return Kept(
                *(
                    bool(connection.scalar(sa.text(query), {"id": order_id}))
                    for connection, query in (
                        (inventory, held.format("reservations", "reserved")),
                        (inventory, held.format("shipments", "shipped")),
                        (orders, ledger.format("captured")),
                    )
                )
            )

    def execution(self, order_id: str) -> str:
        """Return the status of an order's saga, such as RUNNING or SUCCEEDED."""
        states = self.cloud.client("stepfunctions")
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{STAGE}-orderflow-place-order"
        status: str = states.describe_execution(executionArn=f"{arn}:{order_id}")["status"]
        return status

    def resume(self, order_id: str) -> str:
        """Resume a parked order as an operator does; return the outcome, or what failed."""
        answer = self.cloud.client("lambda").invoke(
            FunctionName=f"orders-{STAGE}-resumeOrder", Payload=json.dumps({"order_id": order_id})
        )
        result = json.loads(answer["Payload"].read())
        return str(result["errorType"] if "FunctionError" in answer else result["outcome"])

    def resume_until_closed(self, order_id: str, *, within: float) -> list[str]:
        """Resume, and at once again; then as often as the order waits. Return all outcomes.

        An operator tries again where the call failed, or where a newer token has just replaced the
        one that he saw. A call that failed, or that an SDK repeated, may have handed it over.
        """
        outcomes = [self.resume(order_id), self.resume(order_id)]

        def closed() -> bool:
            order = self.order(order_id)
            if order.parked_at is not None:
                outcomes.append(self.resume(order_id))
            return order.closed

        eventually(closed, f"{order_id} is resumed and closed", within=within, every=1)
        return outcomes

    def over(self, order_id: str) -> bool:
        """Whether an order is closed and its saga has ended."""
        return self.order(order_id).closed and self.execution(order_id) != "RUNNING"

    def until_over(self, order_id: str, *, within: float) -> Mapping[str, Any]:
        """Wait for the end of an order and of its saga; return it as a customer sees it."""
        eventually(
            lambda: self.order(order_id).status not in ("PLACED", "PARKED"),
            f"{order_id} is closed",
            within=within,
            every=0.5,
        )
        eventually(
            lambda: self.execution(order_id) != "RUNNING",
            f"the saga of {order_id} ends",
            within=within,
            every=0.5,
        )
        return self.shop.order(order_id)
