"""Inventory in any order, repeated, interrupted: the real books beside a model in plain Python.

The model knows what each command should answer and where each unit should lie. After every step
the database is read whole and compared with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from inventory.adapters.books import SqlBooks, SqlPage
from inventory.adapters.tables import outbox, reservations, shipments, stock
from inventory.domain import (
    CancelShipment,
    Command,
    DeliveredProduct,
    Delivery,
    Listing,
    Release,
    Reservation,
    Reserve,
    Ship,
)
from inventory.use_cases import handle_command, receive_stock
from shared.errors import TransientFault
from tests.support.profiles import machine

Answer = dict[str, Any]

# So few that the same ones meet again and again.
SKUS = ("A", "B", "C")
DELIVERIES = ("first", "second", "third", "fourth")
AVAILABLE, RESERVED, SHIPPED = range(3)
TOO_LARGE = 1000
LOW = 5


@dataclass
class Product:
    """What the shelf should hold of one sku, and what was published about it."""

    price: int
    bins: list[int] = field(default_factory=lambda: [0, 0, 0])
    facts: list[Answer] = field(default_factory=list)

    def move(self, units: int, source: int, target: int) -> None:
        self.bins[source] -= units
        self.bins[target] += units
        assert min(self.bins) >= 0

    def listed(self, sku: str) -> None:
        fact = {"sku": sku, "name": f"Thing {self.price}", "unit_price": self.price}
        self.facts.append(fact | {"currency": "EUR", "version": len(self.facts) + 1})

    def low(self, sku: str) -> None:
        fact = {"sku": sku, "available": self.bins[AVAILABLE], "threshold": LOW}
        self.facts.append(fact | {"version": len(self.facts) + 1})


@dataclass
class Kept:
    """What should be kept of one order: of its reservation or of its shipment."""

    status: str
    reason: str | None = None
    lines: dict[str, int] = field(default_factory=dict)


class Bug(Exception):
    """What the model expects to be refused as a bug, with nothing changed."""


class Model:
    """The inventory as it should be."""

    def __init__(self) -> None:
        self.products: dict[str, Product] = {}
        self.reservations: dict[UUID, Kept] = {}
        self.shipments: dict[UUID, Kept] = {}
        self.deliveries: dict[str, tuple[int, int]] = {}

    def receive(self, delivery_id: str, rows: dict[str, tuple[int, int]]) -> Answer:
        duplicate = delivery_id in self.deliveries
        if not duplicate:
            self.deliveries[delivery_id] = len(rows), sum(units for units, _ in rows.values())
            for sku, (units, price) in rows.items():
                product = self.products.get(sku)
                if product is None or product.price != price:
                    product = self.products.setdefault(sku, Product(price))
                    product.price = price
                    product.listed(sku)
                product.bins[AVAILABLE] += units
        count_, units = self.deliveries[delivery_id]
        return {
            "delivery_id": delivery_id,
            "products": count_,
            "units": units,
            "duplicate": duplicate,
        }

    def reserve(self, order: UUID, lines: dict[str, int]) -> Answer:
        kept = self.reservations.get(order)
        if kept is None:
            reason = self._short_of(lines)
            kept = Kept("refused" if reason else "reserved", reason, lines)
            self.reservations[order] = kept
            if not reason:
                self._move(lines, AVAILABLE, RESERVED)
                for sku in lines:
                    if self.products[sku].bins[AVAILABLE] <= LOW:
                        self.products[sku].low(sku)
        if kept.status == "reserved":
            return {"outcome": "reserved"}
        return {"outcome": "refused", "reason": kept.reason or "RELEASED"}

    def release(self, order: UUID) -> Answer:
        kept = self.reservations.setdefault(order, Kept("released"))
        if kept.status == "reserved":
            if self._shipped(order):
                raise Bug
            self._move(kept.lines, RESERVED, AVAILABLE)
            kept.status = "released"
        return {"outcome": "released"}

    def ship(self, order: UUID) -> Answer:
        kept = self.shipments.get(order)
        if kept is None:
            held = self.reservations.get(order)
            if held is None or held.status != "reserved":
                kept = Kept("refused", "NOT_RESERVED")
            elif sum(held.lines.values()) > TOO_LARGE:
                kept = Kept("refused", "SHIPMENT_TOO_LARGE")
            else:
                kept = Kept("shipped")
                self._move(held.lines, RESERVED, SHIPPED)
            self.shipments[order] = kept
        if kept.status == "shipped":
            return {"outcome": "shipped", "tracking": f"OF{order.hex.upper()}"}
        return {"outcome": "refused", "reason": kept.reason or "CANCELLED"}

    def cancel_shipment(self, order: UUID) -> Answer:
        kept = self.shipments.setdefault(order, Kept("cancelled"))
        if kept.status == "shipped":
            self._move(self.reservations[order].lines, SHIPPED, RESERVED)
            kept.status = "cancelled"
        return {"outcome": "cancelled"}

    def _short_of(self, lines: dict[str, int]) -> str | None:
        if not lines.keys() <= self.products.keys():
            return "UNKNOWN_SKU"
        short = any(self.products[sku].bins[AVAILABLE] < n for sku, n in lines.items())
        return "OUT_OF_STOCK" if short else None

    def _move(self, lines: dict[str, int], source: int, target: int) -> None:
        for sku, units in lines.items():
            self.products[sku].move(units, source, target)

    def _shipped(self, order: UUID) -> bool:
        return order in self.shipments and self.shipments[order].status == "shipped"


class Died(Exception):
    """The process ends here."""


class DyingBooks(SqlBooks):
    """Books on which the process dies at the last moment before the commit."""

    @contextmanager
    def open(self) -> Iterator[SqlPage]:
        with super().open() as page:
            yield page
            raise Died

    def reserve_at_once(self, *_: Reservation, **__: int) -> bool:
        """One statement: a process that dies before it ends was never there."""
        raise Died


class Saga:
    """Step Functions: hears the answers, or does not answer itself, so that nobody knows."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.is_away = False

    def answer(self, task_token: str, outcome: dict[str, str]) -> bool:
        assert task_token == "token"
        if self.is_away:
            raise TransientFault("no answer")
        self.answers.append(outcome)
        return True


class Unannounced:
    """Leaves everything in the outbox."""

    def flush(self, skus: object) -> None:
        """Publish nothing."""


# One of the latest orders, 0 being the newest, or (None) one that nobody has heard of.
_orders = st.sampled_from([0, 0, 1, 1, 2, 3, None])
_new_orders = st.sampled_from([None, None, None, 0, 1])
_lines = st.dictionaries(
    st.sampled_from([*SKUS * 4, "GHOST"]),
    st.sampled_from([1, 1, 2, 3, 1000, 1001]),
    min_size=1,
    max_size=3,
)
_rows = st.dictionaries(
    st.sampled_from(SKUS),
    st.tuples(st.sampled_from([20, 1, 4, 1500, 0]), st.sampled_from([900, 950])),
    min_size=1,
)
_first_rows = st.fixed_dictionaries(
    {sku: st.tuples(st.sampled_from([20, 8, 3000]), st.just(900)) for sku in SKUS}
)
# How often the message comes, and what happens the first time.
_times = st.sampled_from([1, 1, 1, 2, 3])
_deaths = st.sampled_from([None, None, None, "before the commit", "after the commit"])


class Inventory(RuleBasedStateMachine):
    """The real inventory and the model, given the same commands."""

    examples = count()

    def __init__(self, postgres: sa.Engine) -> None:
        super().__init__()
        self.postgres = postgres
        self.model = Model()
        # Of its own, so that examples share a database and nothing else.
        self.run = f"{next(self.examples)}-{uuid4().hex}"
        self.orders: list[UUID] = []

    def sku(self, name: str) -> str:
        return f"{self.run}-{name}"

    def order(self, which: int | None) -> UUID:
        if which is None or which >= len(self.orders):
            self.orders.append(uuid4())
            return self.orders[-1]
        return self.orders[-1 - which]

    @initialize(rows=_first_rows)
    def open_the_shop(self, rows: dict[str, tuple[int, int]]) -> None:
        """An empty shelf refuses everything, which is soon told."""
        self.receive("first", rows, 1, None)

    @rule(delivery=st.sampled_from(DELIVERIES), rows=_rows, times=_times, death=_deaths)
    def receive(
        self, delivery: str, rows: dict[str, tuple[int, int]], times: int, death: str | None
    ) -> None:
        """A repeated delivery may even come with other rows: the first ones count."""
        id_ = f"{self.run}-{delivery}"
        ours = {self.sku(sku): row for sku, row in sorted(rows.items())}
        products = tuple(
            DeliveredProduct(sku, Listing(f"Thing {price}", price, "EUR"), units)
            for sku, (units, price) in ours.items()
        )
        if death == "before the commit":
            with pytest.raises(Died):
                receive_stock(
                    Delivery(id_, products),
                    books=DyingBooks(self.postgres),
                    announcements=Unannounced(),
                )
        for _ in range(times):
            answer = receive_stock(
                Delivery(id_, products), books=SqlBooks(self.postgres), announcements=Unannounced()
            )
            assert answer == self.model.receive(id_, ours)

    @rule(which=_new_orders, lines=_lines, times=_times, death=_deaths)
    def reserve(
        self, which: int | None, lines: dict[str, int], times: int, death: str | None
    ) -> None:
        """A repeated reservation may even name other lines: the first ones count."""
        wanted = {self.sku(sku): units for sku, units in sorted(lines.items())}
        order = self.order(which)
        self._handle(Reserve(order, wanted), times, death, self.model.reserve, order, wanted)

    @rule(which=_orders, times=_times, death=_deaths)
    def release(self, which: int | None, times: int, death: str | None) -> None:
        order = self.order(which)
        self._handle(Release(order), times, death, self.model.release, order)

    @rule(which=_orders, times=_times, death=_deaths)
    def ship(self, which: int | None, times: int, death: str | None) -> None:
        order = self.order(which)
        self._handle(Ship(order), times, death, self.model.ship, order)

    @rule(which=_orders, times=_times, death=_deaths)
    def cancel_shipment(self, which: int | None, times: int, death: str | None) -> None:
        order = self.order(which)
        self._handle(CancelShipment(order), times, death, self.model.cancel_shipment, order)

    @rule(lines=_lines, times=_times)
    def sell(self, lines: dict[str, int], times: int) -> None:
        """The saga's way forward: without it, few orders would come as far as a truck."""
        self.reserve(None, lines, times, None)
        self.ship(0, times, None)

    @rule(which=_orders, times=_times)
    def undo(self, which: int | None, times: int) -> None:
        """The saga's way back, newest first: nothing of the order is left on any shelf."""
        order = self.order(which)
        self._handle(CancelShipment(order), times, None, self.model.cancel_shipment, order)
        self._handle(Release(order), times, None, self.model.release, order)
        assert self.model.reservations[order].status != "reserved"

    def _handle(
        self, command: Command, times: int, death: str | None, expected: Any, *arguments: Any
    ) -> None:
        """Deliver the message so often; each time the saga hears what the model says."""
        saga = Saga()

        def deliver(books: SqlBooks) -> None:
            handle_command(command, "token", books=books, saga=saga, announcements=Unannounced())

        try:
            if death == "before the commit":
                with pytest.raises((Died, RuntimeError)):
                    deliver(DyingBooks(self.postgres))
            elif death == "after the commit":
                answer = expected(*arguments)
                saga.is_away = True
                with pytest.raises(TransientFault):
                    deliver(SqlBooks(self.postgres))
                saga.is_away = False
                # Nobody heard the first answer; the redelivery gives the very same.
                deliver(SqlBooks(self.postgres))
                assert saga.answers.pop() == answer
            for _ in range(times):
                answer = expected(*arguments)
                deliver(SqlBooks(self.postgres))
                assert saga.answers.pop() == answer
        except Bug:
            # Newest first, or not at all: what is on a truck cannot be sold again.
            with pytest.raises(RuntimeError, match="shipment still stands"):
                deliver(SqlBooks(self.postgres))
        assert saga.answers == []

    @invariant()
    def the_books_are_as_they_should_be(self) -> None:
        mine = [self.sku(sku) for sku in (*SKUS, "GHOST")]
        with self.postgres.connect() as connection:
            shelf = {
                row.sku: (row.received, [row.available, row.reserved, row.shipped], row.unit_price)
                for row in connection.execute(sa.select(stock).where(stock.c.sku.in_(mine)))
            }
            reserved = {
                row.order_id: Kept(
                    row.status,
                    row.reason,
                    {line["sku"]: line["quantity"] for line in row.lines},
                )
                for row in connection.execute(
                    sa.select(reservations).where(reservations.c.order_id.in_(self.orders))
                )
            }
            shipped = {
                row.order_id: Kept(row.status, row.reason)
                for row in connection.execute(
                    sa.select(shipments).where(shipments.c.order_id.in_(self.orders))
                )
            }
            facts: dict[str, list[Answer]] = {sku: [] for sku in self.model.products}
            told = sa.select(outbox.c.body["data"]).where(outbox.c.subject.in_(mine))
            for body in connection.execute(told.order_by(outbox.c.seq)).scalars():
                facts[body["sku"]].append(body)

        assert shelf == {
            sku: (sum(product.bins), product.bins, product.price)
            for sku, product in self.model.products.items()
        }
        assert reserved == self.model.reservations
        assert shipped == self.model.shipments
        assert facts == {sku: product.facts for sku, product in self.model.products.items()}
        # The other way round: the bins are what the orders say, and what came in is all there is.
        for sku, (received, bins, _) in shelf.items():
            assert bins[1:] == [held(sku, reserved, shipped, way) for way in (False, True)]
            assert received == sum(bins)
        assert sum(units for _, units in self.model.deliveries.values()) == sum(
            received for received, _, _ in shelf.values()
        )


def held(sku: str, reserved: dict[UUID, Kept], shipped: dict[UUID, Kept], on_its_way: bool) -> int:
    """Return how many of a sku the orders hold: on the shelf, or on their way."""
    return sum(
        kept.lines.get(sku, 0)
        for order, kept in reserved.items()
        if kept.status == "reserved"
        and (order in shipped and shipped[order].status == "shipped") is on_its_way
    )


# Making a failure small takes its time, and is worth it.
@pytest.mark.timeout(1800)
def test_whatever_comes_in_whatever_order_the_books_are_as_the_model_says(
    postgres: sa.Engine,
) -> None:
    run_state_machine_as_test(lambda: Inventory(postgres), settings=machine())  # type: ignore[arg-type] # makes one, as it asks
