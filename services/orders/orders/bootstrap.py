"""The only wiring: what each handler needs, from its settings.

Imports stand inside the functions where one handler alone needs them: a function pays in its
cold start for what it uses, and for nothing else.
"""

# ruff: noqa: PLC0415

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from orders import use_cases
from shared.config import setting
from shared.database import engine

RELAY_AGE = timedelta(seconds=10)
"""Younger rows belong to the function that wrote them, which is about to flush them."""


def place_order() -> Callable[[use_cases.PlaceOrder], Any]:
    """Return `request -> placed, or a refusal`."""
    from orders.adapters.catalogue import SqlCatalogue
    from orders.adapters.order_book import SqlOrderBook
    from shared.ids import uuid7

    database = engine(setting("DATABASE_URL"))
    return partial(
        use_cases.place_order,
        catalogue=SqlCatalogue(database),
        orders=SqlOrderBook(database),
        saga=_saga(),
        new_id=uuid7,
        now=lambda: datetime.now(UTC),
    )


def order_book() -> Any:
    """Return the order book alone: for functions that make no call to AWS."""
    from orders.adapters.order_book import SqlOrderBook

    return SqlOrderBook(engine(setting("DATABASE_URL")))


def catalogue() -> Any:
    """Return the catalogue alone."""
    from orders.adapters.catalogue import SqlCatalogue

    return SqlCatalogue(engine(setting("DATABASE_URL")))


def saga_history() -> Callable[[str], Sequence[Mapping[str, Any]]]:
    """Return `order id -> history events`."""
    history: Callable[[str], Sequence[Mapping[str, Any]]] = _saga().history
    return history


def charge_payment() -> Callable[..., use_cases.Outcome]:
    """Return `(order_id, amount, currency, token) -> outcome`."""
    return _payment_step(use_cases.charge_payment)


def refund_payment() -> Callable[..., use_cases.Outcome]:
    """Return `order_id -> outcome`."""
    return _payment_step(use_cases.refund_payment)


def _payment_step(use_case: Callable[..., use_cases.Outcome]) -> Callable[..., use_cases.Outcome]:
    from orders.adapters.payments import SqlPayments
    from orders.adapters.sandbox_gateway import SandboxGateway

    database = engine(setting("DATABASE_URL"))
    step = partial(use_case, payments=SqlPayments(database), gateway=SandboxGateway(database))
    return _announced(step, database)


def order_step(use_case: Callable[..., Any]) -> Callable[..., Any]:
    """Return the saga step `use_case` on the order book, its facts announced after the commit."""
    from orders.adapters.order_book import SqlOrderBook

    database = engine(setting("DATABASE_URL"))
    return _announced(partial(use_case, orders=SqlOrderBook(database)), database)


def relay_outbox() -> Callable[[], int]:
    """Return `() -> how many rows were delivered`."""
    from orders.adapters.saga import dispatcher
    from orders.adapters.tables import outbox
    from shared.outbox import Outbox

    waiting = Outbox(engine(setting("DATABASE_URL")), outbox, dispatcher(_saga(), _publisher()))
    return partial(waiting.relay, older_than=RELAY_AGE)


def migrate() -> Callable[[], str]:
    """Return `() -> the revision reached`."""
    from shared.migrations import migrate as upgrade

    scripts = Path(__file__).parent / "migrations"
    return partial(upgrade, engine(setting("DATABASE_URL")), scripts)


def _saga() -> Any:
    from orders.adapters.saga import StepFunctionsSaga
    from shared.clients import client

    return StepFunctionsSaga(client("stepfunctions"), setting("PLACE_ORDER_SAGA_ARN"))


def _publisher() -> Any:
    from shared.clients import client
    from shared.publisher import FactPublisher

    return FactPublisher(client("sns"), setting("EVENTS_TOPIC_ARN"))


def _announced(step: Callable[..., Any], database: Any) -> Callable[..., Any]:
    """Return `step`, followed by a flush of its order's outbox.

    That a step runs proves that the saga has started, so the flush takes the start off the
    relay's list too. What is not accepted stays for the relay: a step that has committed never
    fails for want of an announcement.
    """
    from orders.adapters.order_book import SAGA
    from orders.adapters.tables import outbox
    from shared.outbox import EVENTS, Outbox

    publish = _publisher()
    waiting = Outbox(
        database, outbox, lambda rows: publish([row for row in rows if row.destination == EVENTS])
    )

    def announced(order_id: UUID, *args: Any, **kwargs: Any) -> Any:
        outcome = step(order_id, *args, **kwargs)
        waiting.flush(str(order_id), (EVENTS, SAGA))
        return outcome

    return announced
