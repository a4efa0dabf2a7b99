"""The only wiring: what each handler needs, from its settings.

Imports stand inside the functions where one handler alone needs them: Alembic takes longer to
import than a cold start may cost a command.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from inventory import use_cases
from inventory.adapters.announcements import OutboxAnnouncements
from inventory.adapters.books import SqlBooks
from inventory.adapters.commands import command_of, task_token_of
from inventory.adapters.saga import StepFunctionsSaga
from inventory.adapters.tables import outbox
from inventory.domain import delivery_from
from shared.clients import client
from shared.config import setting
from shared.database import engine
from shared.envelope import Envelope
from shared.outbox import Outbox
from shared.publisher import FactPublisher

RELAY_AGE = timedelta(seconds=10)
"""Younger rows belong to the function that wrote them, which is about to flush them."""
RELAY_SECONDS = 25
"""No new batch after this; the function has 50, and a batch takes some 5 of an outage."""

CLEANING_SECONDS = 100
"""No new batch after this; the function has 120, and the last batch may take 8."""


def handle_commands(log: Logger) -> Callable[[Envelope], use_cases.Answered]:
    """Return `envelope -> answered`: one step of the saga."""
    database = engine(setting("DATABASE_URL"))
    carry_out = partial(
        use_cases.handle_command,
        books=SqlBooks(database),
        saga=StepFunctionsSaga(client("stepfunctions")),
        announcements=OutboxAnnouncements(_outbox(database), log),
    )

    def handle(envelope: Envelope) -> use_cases.Answered:
        return carry_out(command_of(envelope), task_token_of(envelope))

    return handle


def receive_stock(log: Logger) -> Callable[[Any], dict[str, Any]]:
    """Return `payload -> what was received`."""
    database = engine(setting("DATABASE_URL"))
    receive = partial(
        use_cases.receive_stock,
        books=SqlBooks(database),
        announcements=OutboxAnnouncements(_outbox(database), log),
    )
    return lambda payload: receive(delivery_from(payload))


def relay_outbox() -> Callable[[], int]:
    """Return `() -> how many facts were published`."""
    waiting = _outbox(engine(setting("DATABASE_URL")))
    return partial(waiting.relay, older_than=RELAY_AGE, seconds=RELAY_SECONDS)


def clean_up() -> Callable[[], dict[str, int]]:
    """Return `() -> how much of what was removed`."""
    from inventory.adapters.cleaning import SqlAttic  # noqa: PLC0415

    days = int(setting("OUTBOX_DAYS"))
    attic = SqlAttic(engine(setting("DATABASE_URL")), outbox_days=days)
    return lambda: {"outbox_rows": attic.empty_outbox(seconds=CLEANING_SECONDS)}


def migrate() -> Callable[[], str]:
    """Return `() -> the revision reached`."""
    from shared.migrations import migrate as upgrade  # noqa: PLC0415

    scripts = Path(__file__).parent / "migrations"
    return partial(upgrade, engine(setting("DATABASE_URL")), scripts)


def _outbox(database: Any) -> Outbox:
    # What is to be told is committed, and the relay tells it again: give up while there is time
    # left to answer.
    sns = client("sns", read_timeout=2, attempts=2)
    publisher = FactPublisher(sns, setting("EVENTS_TOPIC_ARN"))
    return Outbox(database, outbox, publisher)
