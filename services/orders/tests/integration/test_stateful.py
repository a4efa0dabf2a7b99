"""Orders and their money in any order, repeated, interrupted, beside a model in plain Python.

One machine calls anything at any time, as bugs, operators and late messages may. The other keeps
to what a saga can do, late repetitions included, and must always end with the right money.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
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

from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SqlOrderBook
from orders.domain import (
    TRANSITIONS,
    Final,
    KeyReused,
    NotInCatalogue,
    Order,
    Product,
    Status,
    WantedLine,
)
from orders.use_cases import (
    Placed,
    PlaceOrder,
    cancel_order,
    close_order,
    confirm_order,
    park_order,
    place_order,
    resume_order,
    withdraw_confirmation,
)
from shared.errors import TransientFault
from shared.ids import uuid7
from tests.support.profiles import machine

from .till import CHARGE_DEATHS, REFUND_DEATHS, Died, Till

Answer = dict[str, str]

OPEN = {"PLACED", "PARKED"}
FACTS = {
    "CONFIRMED": "order.confirmed.v1",
    "REJECTED": "order.rejected.v1",
    "CANCELLED": "order.cancelled.v1",
    "PARKED": "order.parked.v1",
}
CLOSING = {fact for status, fact in FACTS.items() if status not in OPEN}

_READ = sa.text("""
    SELECT o.id, o.status, o.version, o.reason, o.closed_at IS NOT NULL AS closed, o.total,
           p.status AS payment, p.amount AS paid, l.status AS ledger, l.amount AS ledger_amount,
           k.step, k.task_token,
           ARRAY(SELECT type FROM outbox WHERE subject = o.id::text ORDER BY seq) AS told
    FROM orders o
    LEFT JOIN payments p ON p.order_id = o.id
    LEFT JOIN sandbox_gateway.ledger l ON l.key = o.id::text
    LEFT JOIN parked_orders k ON k.order_id = o.id
    WHERE o.customer_id LIKE :customers
""")


@dataclass
class Money:
    """What should become of one order's money: our row, and the gateway's."""

    token: str
    payment: str | None = None
    ledger: str | None = None

    def charge(self, deaths: set[str]) -> Answer:
        die(deaths, "before open")
        self.payment = self.payment or "pending"
        die(deaths, "after open")
        if self.payment == "pending":
            die(deaths, "before charge")
            if self.token == "tok_error":
                raise TransientFault
            self.ledger = self.ledger or (
                "declined" if self.token == "tok_declined" else "captured"
            )
            if self.token == "tok_timeout":
                raise TransientFault
            die(deaths, "after charge", "before settle")
            self.payment = "charged" if self.ledger == "captured" else "declined"
            die(deaths, "after settle")
        if self.payment == "charged":
            return {"outcome": "charged"}
        reason = "DECLINED" if self.payment == "declined" else "ALREADY_REFUNDED"
        return {"outcome": "refused", "reason": reason}

    def refund(self, deaths: set[str]) -> Answer:
        die(deaths, "before begin_refund")
        if self.payment in {None, "pending", "charged"}:
            self.payment = "refunding"
        die(deaths, "after begin_refund")
        if self.payment == "refunding":
            die(deaths, "before reverse")
            self.ledger = {None: "barred", "captured": "reversed"}.get(self.ledger, self.ledger)
            die(deaths, "after reverse", "before end_refund")
            self.payment = "refunded" if self.ledger == "reversed" else "void"
            die(deaths, "after end_refund")
        return {"outcome": "refunded"}


def die(deaths: set[str], *places: str) -> None:
    if deaths.intersection(places):
        raise Died


@dataclass
class Seen:
    """What a saga knows of the steps that it has taken for one order."""

    charge_tried: bool = False
    charged: bool = False
    charge_refused: bool = False
    confirm_tried: bool = False
    confirmation_is_out: bool = False
    refunded: bool = False
    undoing: bool = False

    def may(self, step: str) -> bool:
        """Say whether a saga may take the step now; a late repetition of one taken always may."""
        match step:
            case "charge":
                return self.charge_tried or not self.undoing
            case "confirm":
                return self.charged and (self.confirm_tried or not self.undoing)
            case "withdraw":
                return self.confirm_tried
            case "refund":
                # Not before it is certain that the order is not, and never will be, confirmed.
                return self.charge_tried and (self.confirmation_is_out or not self.confirm_tried)
            case "close":
                return self.refunded or self.charge_refused or not self.charge_tried
            case _:
                return self.undoing


@dataclass
class Kept:
    """One order as it should be."""

    id: UUID
    request: PlaceOrder
    total: int
    money: Money
    status: str = "PLACED"
    version: int = 1
    reason: str | None = None
    cancel_requested: bool = False
    withdrawn: bool = False
    parked: tuple[str, str] | None = None
    told: list[str] = field(default_factory=lambda: ["order.placed.v1", "saga.start"])
    seen: Seen = field(default_factory=Seen)

    def change(self, status: str) -> None:
        self.status = status
        self.version += 1
        self.told.append(FACTS[status])

    def confirm(self) -> Answer:
        if self.status == "PLACED" and not self.cancel_requested and not self.withdrawn:
            self.change("CONFIRMED")
        if self.status == "CONFIRMED":
            return {"outcome": "confirmed"}
        return {"outcome": "refused", "reason": "CANCEL_REQUESTED"}

    def withdraw(self) -> Answer:
        self.withdrawn = self.status != "CONFIRMED"
        return {"outcome": "withdrawn" if self.withdrawn else "confirmed"}

    def close(self, reason: str) -> Answer:
        if self.status in OPEN:
            self.change("CANCELLED" if self.cancel_requested else "REJECTED")
            self.reason = "CUSTOMER_REQUEST" if self.cancel_requested else reason
        return {"outcome": "closed", "status": self.status}

    def park(self, step: str, token: str) -> str:
        if self.status == "PLACED":
            self.change("PARKED")
        self.parked = step, token
        return self.status

    def resume(self, *, waits: bool) -> Answer:
        if self.parked is None:
            outcome = "not_waiting" if self.status == "PARKED" else "not_parked"
            return {"outcome": outcome, "status": self.status}
        step, _ = self.parked
        self.parked = None  # a token that nobody waits for is forgotten as well
        outcome = "resumed" if waits else "not_waiting"
        return {"outcome": outcome, "step": step, "status": self.status}


class Saga:
    """Step Functions as far as placing and resuming go."""

    def __init__(self, fate: str = "answers") -> None:
        self.fate = fate
        self.started: list[str] = []
        self.waiting: set[str] = set()

    def start(self, name: str, document: dict[str, Any]) -> None:
        assert document["order_id"] == name
        self.started.append(name)
        if self.fate == "is away":
            raise TransientFault("no answer")
        if self.fate == "kills us":
            raise Died

    def resume(self, task_token: str) -> bool:
        waits = task_token in self.waiting
        self.waiting.discard(task_token)
        return waits


_tokens = st.sampled_from(["tok_visa", "tok_visa", "tok_declined", "tok_error", "tok_timeout"])
_times = st.sampled_from([1, 1, 1, 2])
# Mostly the same order: what matters is what meets at one.
_which = st.sampled_from([0, 0, 0, 0, 1, 2, 5])
_no_deaths: st.SearchStrategy[set[str]] = st.builds(set)
_charge_deaths = _no_deaths | st.sampled_from(CHARGE_DEATHS).map(lambda death: {death})
_refund_deaths = _no_deaths | st.sampled_from(REFUND_DEATHS).map(lambda death: {death})
# Whether a step's answer gets through: if not, the saga does not know what happened.
_fates = st.sampled_from(["answers", "answers", "answers", "never ran", "answer lost"])


class Orders(RuleBasedStateMachine):
    """The real orders and the model, given the same calls."""

    keeps_to_the_saga = False

    def __init__(self, postgres: sa.Engine) -> None:
        super().__init__()
        self.postgres = postgres
        self.book = SqlOrderBook(postgres)
        self.catalogue = SqlCatalogue(postgres)
        self.sagas = Saga()
        # Of its own, so that examples share a database and nothing else.
        self.run = uuid4().hex
        self.products: dict[str, Product] = {}
        self.kept: list[Kept] = []
        self.before: dict[UUID, Status] = {}
        self.tokens = 0

    @initialize(tokens=st.lists(_tokens, min_size=2, max_size=3))
    def open_the_shop(self, tokens: list[str]) -> None:
        """Without orders there would be little to do."""
        for sku in ("CUP", "PAN"):
            self.list_product(sku, 1, 900)
        for token in tokens:
            self.place(
                customer="ada",
                key=None,
                lines={"CUP": 2},
                token=token,
                currency="EUR",
                fate="answers",
                times=1,
            )

    @rule(
        sku=st.sampled_from(["CUP", "PAN"]),
        version=st.integers(1, 4),
        price=st.sampled_from([0, 500, 10**11]),
    )
    def list_product(self, sku: str, version: int, price: int) -> None:
        """Old news changes nothing, and no order that was placed before."""
        id_ = f"{self.run}-{sku}"
        product = Product(id_, sku, price, "EUR", version)
        known = self.products.get(sku)
        is_news = known is None or known.version < version
        assert self.catalogue.upsert(product) is is_news
        if is_news:
            self.products[sku] = product

    @rule(
        customer=st.sampled_from(["ada", "bob"]),
        key=st.sampled_from([None, "k1", "k2"]),
        lines=st.dictionaries(
            st.sampled_from(["CUP", "PAN", "CUP", "PAN", "GHOST"]),
            st.sampled_from([1, 2]),
            min_size=1,
            max_size=2,
        ),
        token=_tokens,
        currency=st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
        fate=st.sampled_from(["answers", "answers", "is away", "kills us"]),
        times=_times,
    )
    def place(
        self,
        *,
        customer: str,
        key: str | None,
        lines: dict[str, int],
        token: str,
        currency: str,
        fate: str,
        times: int,
    ) -> None:
        wanted = tuple(WantedLine(f"{self.run}-{sku}", n) for sku, n in lines.items())
        customer_id = f"{self.run}-{customer}"
        self.request(PlaceOrder(customer_id, "a@example.com", currency, wanted, token, key), fate)
        for _ in range(times - 1):
            self.request(self.kept[-1].request if self.kept else None, "answers")

    @rule(which=_which, fate=st.sampled_from(["answers", "is away", "kills us"]))
    def replay(self, which: int, fate: str) -> None:
        """The very same request again, whatever has become of the order."""
        order = self.pick(which)
        self.request(order.request if order else None, fate)

    def request(self, request: PlaceOrder | None, fate: str) -> None:
        if request is None:
            return
        saga = Saga(fate)
        try:
            answer = place_order(
                request,
                catalogue=self.catalogue,
                orders=self.book,
                saga=saga,
                new_id=uuid7,
                now=lambda: datetime.now(UTC),
            )
        except Died:
            assert fate == "kills us"
            answer = None
        first = self.placed_under(request)
        if first:
            assert saga.started == []  # a replay starts nothing
            if first.request.fingerprint() != request.fingerprint():
                assert answer == KeyReused()
                return
            assert isinstance(answer, Placed)
            assert answer.replayed
            assert (answer.order.id, answer.order.total) == (first.id, first.total)
            return
        products = [self.products.get(line.sku.removeprefix(f"{self.run}-")) for line in
                    request.lines]  # fmt: skip
        if None in products or request.currency != "EUR":
            assert isinstance(answer, NotInCatalogue)
            assert saga.started == []
            return
        total = sum(
            line.quantity * product.unit_price
            for line, product in zip(request.lines, products, strict=True)
            if product
        )
        (id_,) = saga.started
        self.kept.append(Kept(UUID(id_), request, total, Money(request.payment_token)))
        if answer is not None:
            assert isinstance(answer, Placed)
            assert (str(answer.order.id), answer.order.total) == (id_, total)
            assert answer.saga_started is (fate == "answers")

    def placed_under(self, request: PlaceOrder) -> Kept | None:
        """Return the model's order that holds the request's key."""
        of_customer = (each.request.customer_id == request.customer_id for each in self.kept)
        held = (
            order
            for order, ours in zip(self.kept, of_customer, strict=True)
            if ours and request.idempotency_key == order.request.idempotency_key is not None
        )
        return next(held, None)

    def pick(self, which: int, step: str = "") -> Kept | None:
        """Return one of the orders with which this step may be taken now, if there is one."""
        able = [
            each
            for each in self.kept
            if not (step and self.keeps_to_the_saga) or each.seen.may(step)
        ]
        return able[which % len(able)] if able else None

    @rule(which=_which, times=_times)
    def cancel(self, which: int, times: int) -> None:
        order = self.pick(which)
        for _ in range(times if order else 0):
            assert order
            answer = cancel_order(order.id, orders=self.book)
            order.cancel_requested |= order.status in OPEN
            if order.status in {*OPEN, "CANCELLED"}:
                assert isinstance(answer, Order)
                assert answer.status.value == order.status
            else:
                assert answer == Final(Status(order.status))

    @rule(which=_which, deaths=_charge_deaths, times=_times)
    def charge(self, which: int, deaths: set[str], times: int) -> None:
        order = self.pick(which, "charge")
        if order:
            self.charge_order(order, deaths, times)

    def charge_order(self, order: Kept, deaths: set[str], times: int) -> None:
        for at in range(times):
            order.seen.charge_tried = True
            answer = self.money_step(order, "charge", set() if at else deaths)
            order.seen.charged |= answer == {"outcome": "charged"}
            order.seen.charge_refused |= answer is not None and answer["outcome"] == "refused"

    @rule(which=_which, deaths=_refund_deaths, times=_times)
    def refund(self, which: int, deaths: set[str], times: int) -> None:
        order = self.pick(which, "refund")
        if order:
            self.refund_order(order, deaths, times)

    def refund_order(self, order: Kept, deaths: set[str], times: int) -> None:
        for at in range(times):
            order.seen.undoing = True
            answer = self.money_step(order, "refund", set() if at else deaths)
            order.seen.refunded |= answer is not None

    def money_step(self, order: Kept, step: str, deaths: set[str]) -> Answer | None:
        """Take it for real and in the model; both answer the same, or both fail the same way."""
        till = Till(self.postgres, order.id, token=order.money.token, amount=order.total)
        try:
            expected: Answer = getattr(order.money, step)(deaths)
        except (Died, TransientFault) as fault:
            with pytest.raises(type(fault)):
                getattr(till, step)(*deaths)
            return None
        assert getattr(till, step)(*deaths) == expected
        return expected

    @rule(which=_which, fate=_fates, times=_times)
    def confirm(self, which: int, fate: str, times: int) -> None:
        order = self.pick(which, "confirm")
        if order:
            self.confirm_order(order, fate, times)

    def confirm_order(self, order: Kept, fate: str, times: int) -> None:
        for _ in range(times):
            order.seen.confirm_tried = True
            if fate == "never ran":
                return
            answer = confirm_order(order.id, orders=self.book)
            assert answer == order.confirm()
            if fate == "answers" and answer["outcome"] == "refused":
                order.seen.confirmation_is_out = order.seen.undoing = True

    @rule(which=_which, fate=_fates, times=_times)
    def withdraw(self, which: int, fate: str, times: int) -> None:
        order = self.pick(which, "withdraw")
        if order:
            self.withdraw_order(order, fate, times)

    def withdraw_order(self, order: Kept, fate: str, times: int) -> None:
        for _ in range(times if fate != "never ran" else 0):
            answer = withdraw_confirmation(order.id, orders=self.book)
            assert answer == order.withdraw()
            if fate == "answers" and answer["outcome"] == "withdrawn":
                order.seen.confirmation_is_out = order.seen.undoing = True

    @rule(which=_which, reason=st.sampled_from(["OUT_OF_STOCK", "DECLINED"]), times=_times)
    def close(self, which: int, reason: str, times: int) -> None:
        order = self.pick(which, "close")
        if order:
            self.close_order(order, reason, times)

    def close_order(self, order: Kept, reason: str, times: int) -> None:
        for _ in range(times):
            order.seen.undoing = True
            document = {"charge": {"outcome": "refused", "reason": reason}}
            assert close_order(order.id, document, orders=self.book) == order.close(reason)

    @rule(which=_which, times=_times, waits=st.booleans())
    def park(self, which: int, times: int, *, waits: bool) -> None:
        order = self.pick(which, "park")
        if order:
            self.park_order(order, times, waits=waits)

    def park_order(self, order: Kept, times: int, *, waits: bool) -> None:
        for _ in range(times):
            self.tokens += 1
            token = f"{self.run}-{self.tokens}"
            if waits:
                self.sagas.waiting.add(token)
            step = "Refund Payment" if self.tokens % 2 else "Release Stock"
            status = park_order(
                order.id, step=step, fault={"Error": "Oh"}, task_token=token, orders=self.book
            )
            assert status.value == order.park(step, token)

    @rule(which=_which, times=_times)
    def resume(self, which: int, times: int) -> None:
        order = self.pick(which)
        if order:
            self.resume_order(order, times)

    def resume_order(self, order: Kept, times: int) -> None:
        for _ in range(times):
            waits = order.parked is not None and order.parked[1] in self.sagas.waiting
            answer = resume_order(order.id, orders=self.book, sagas=self.sagas)
            assert answer == order.resume(waits=waits)

    @rule(which=_which, times=_times, again=st.booleans(), waits=st.booleans())
    def park_and_resume(self, which: int, times: int, *, again: bool, waits: bool) -> None:
        """The operator's part, perhaps of a saga that parks anew."""
        order = self.pick(which, "park")
        for _ in range(1 + again if order else 0):
            assert order
            self.park_order(order, 1, waits=waits)
            self.resume_order(order, times)

    @rule(which=_which, deaths=_charge_deaths, fate=_fates, times=_times)
    def go_forward(self, which: int, deaths: set[str], fate: str, times: int) -> None:
        """The saga's way forward, as far as it comes: without it, few orders would be confirmed."""
        able = [order for order in self.kept if not order.seen.undoing]
        if able:
            order = able[which % len(able)]
            self.charge_order(order, deaths, times)
            if order.seen.charged or not self.keeps_to_the_saga:
                self.confirm_order(order, fate, times)

    @rule(which=_which, deaths=_refund_deaths, fate=_fates, times=_times)
    def undo(self, which: int, deaths: set[str], fate: str, times: int) -> None:
        """The saga's way back, as far as it comes."""
        if self.kept:
            order = self.kept[which % len(self.kept)]
            for step in ("withdraw", "refund", "close"):
                if self.keeps_to_the_saga and not order.seen.may(step):
                    continue
                if step == "withdraw":
                    self.withdraw_order(order, fate, times)
                elif step == "refund":
                    self.refund_order(order, deaths, times)
                else:
                    self.close_order(order, "DECLINED", times)

    @invariant()
    def the_books_are_as_they_should_be(self) -> None:
        with self.postgres.connect() as connection:
            rows = connection.execute(_READ, {"customers": f"{self.run}-%"}).all()
        assert {row.id for row in rows} == {order.id for order in self.kept}
        found = {row.id: row for row in rows}
        for order in self.kept:
            row = found[order.id]
            after, before = Status(row.status), self.before.get(order.id, Status.PLACED)
            assert after is before or after in TRANSITIONS[before]
            self.before[order.id] = after
            assert (row.status, row.version, row.reason) == (
                order.status,
                order.version,
                order.reason,
            )
            assert row.closed is (row.status not in OPEN)
            assert row.told == order.told
            assert len(CLOSING.intersection(row.told)) == row.closed
            assert sum(row.told.count(fact) for fact in CLOSING) <= 1
            assert (row.payment, row.ledger) == (order.money.payment, order.money.ledger)
            if row.ledger == "captured":
                assert row.ledger_amount == order.total
            parked = None if row.step is None else (row.step, row.task_token)
            assert parked == order.parked

    @invariant()
    def the_money_is_settled(self) -> None:
        """What a saga has ended has the right money, whatever comes late."""
        for order in self.kept if self.keeps_to_the_saga else []:
            if order.status == "CONFIRMED":
                assert order.money.ledger == "captured"
            elif order.status not in OPEN:
                assert order.money.ledger != "captured"


class OrdersOfSagas(Orders):
    """The same, keeping to what a saga can do, late repetitions included."""

    keeps_to_the_saga = True


# Making a failure small takes its time, and is worth it.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine_class", [Orders, OrdersOfSagas])
def test_whatever_is_called_in_whatever_order_the_books_are_as_the_model_says(
    postgres: sa.Engine, machine_class: type[Orders]
) -> None:
    run_state_machine_as_test(partial(machine_class, postgres), settings=machine())  # type: ignore[arg-type] # makes one, as it asks
