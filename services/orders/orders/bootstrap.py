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

from aws_lambda_powertools import Logger

from orders import use_cases
from shared.config import setting
from shared.database import engine

RELAY_AGE = timedelta(seconds=10)
"""Younger rows belong to the function that wrote them, which is about to flush them."""
RELAY_SECONDS = 25
"""No new batch after this; the function has 50, and a batch takes some 10 of an outage."""

CLEANING_SECONDS = 100
"""For each of two kinds of rows; the function has 240, and the last batch may take 8."""

# The order, or the step, is committed when these calls are made, and the relay makes them again:
# give up while there is time left to answer.
_IMPATIENT: Mapping[str, Any] = {"read_timeout": 2, "attempts": 2}


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
        saga=_saga(**_IMPATIENT),
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
    history: Callable[[str], Sequence[Mapping[str, Any]]] = _saga(**_IMPATIENT).history
    return history


def charge_payment(log: Logger) -> Callable[..., use_cases.Outcome]:
    """Return `(order_id, amount, currency, token) -> outcome`."""
    return _payment_step(use_cases.charge_payment, log)


def refund_payment(log: Logger) -> Callable[..., use_cases.Outcome]:
    """Return `order_id -> outcome`."""
    return _payment_step(use_cases.refund_payment, log)


def _payment_step(
    use_case: Callable[..., use_cases.Outcome], log: Logger
) -> Callable[..., use_cases.Outcome]:
    from orders.adapters.payments import SqlPayments
    from orders.adapters.sandbox_gateway import SandboxGateway

    database = engine(setting("DATABASE_URL"))
    step = partial(use_case, payments=SqlPayments(database), gateway=SandboxGateway(database))
    return _announced(step, database, log)


def order_step(use_case: Callable[..., Any], log: Logger) -> Callable[..., Any]:
    """Return the saga step `use_case` on the order book, its facts announced after the commit."""
    from orders.adapters.order_book import SqlOrderBook

    database = engine(setting("DATABASE_URL"))
    return _announced(partial(use_case, orders=SqlOrderBook(database)), database, log)


def relay_outbox() -> Callable[[], int]:
    """Return `() -> how many rows were delivered`."""
    from orders.adapters.saga import dispatcher
    from orders.adapters.tables import outbox
    from shared.outbox import Outbox

    deliver = dispatcher(_saga(**_IMPATIENT), _publisher(**_IMPATIENT))
    waiting = Outbox(engine(setting("DATABASE_URL")), outbox, deliver)
    return partial(waiting.relay, older_than=RELAY_AGE, seconds=RELAY_SECONDS)


def clean_up() -> Callable[[], dict[str, int]]:
    """Return `() -> how much of what was removed`."""
    from orders.adapters.cleaning import SqlAttic

    attic = SqlAttic(
        engine(setting("DATABASE_URL")),
        key_days=int(setting("IDEMPOTENCY_KEY_DAYS")),
        outbox_days=int(setting("OUTBOX_DAYS")),
    )

    def clean() -> dict[str, int]:
        return {
            "idempotency_keys": attic.forget_keys(seconds=CLEANING_SECONDS),
            "outbox_rows": attic.empty_outbox(seconds=CLEANING_SECONDS),
        }

    return clean


def resume_order() -> Callable[[UUID], use_cases.Outcome]:
    """Return `order_id -> what was found and done`."""
    from orders.adapters.order_book import SqlOrderBook
    from orders.adapters.saga import ParkedSagas
    from shared.clients import client

    return partial(
        use_cases.resume_order,
        orders=SqlOrderBook(engine(setting("DATABASE_URL"))),
        sagas=ParkedSagas(client("stepfunctions", **_IMPATIENT)),
    )


def migrate() -> Callable[[], str]:
    """Return `() -> the revision reached`."""
    from shared.migrations import migrate as upgrade

    scripts = Path(__file__).parent / "migrations"
    return partial(upgrade, engine(setting("DATABASE_URL")), scripts)


def _saga(**patience: Any) -> Any:
    from orders.adapters.saga import StepFunctionsSaga
    from shared.clients import client

    return StepFunctionsSaga(client("stepfunctions", **patience), setting("PLACE_ORDER_SAGA_ARN"))


def _publisher(**patience: Any) -> Any:
    from shared.clients import client
    from shared.publisher import FactPublisher

    return FactPublisher(client("sns", **patience), setting("EVENTS_TOPIC_ARN"))


def _announced(step: Callable[..., Any], database: Any, log: Logger) -> Callable[..., Any]:
    """Return `step`, followed by the publication of what it wrote to the outbox."""
    from orders.adapters.announcements import OutboxAnnouncements, facts_only
    from orders.adapters.tables import outbox
    from shared.outbox import Outbox

    announcements = OutboxAnnouncements(
        Outbox(database, outbox, facts_only(_publisher(**_IMPATIENT))), log
    )

    def announced(order_id: UUID, *args: Any, **kwargs: Any) -> Any:
        outcome = step(order_id, *args, **kwargs)
        announcements.flush(order_id)
        return outcome

    return announced
