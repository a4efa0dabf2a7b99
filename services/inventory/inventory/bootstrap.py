"""The only wiring: what each handler needs, from its settings.

Imports stand inside the functions that need them: a function pays in its cold start for what it
uses, and for nothing else.
"""

# ruff: noqa: PLC0415

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from inventory import use_cases
from shared.config import setting
from shared.database import engine
from shared.envelope import Envelope

RELAY_AGE = timedelta(seconds=10)
"""Younger rows belong to the function that wrote them, which is about to flush them."""
RELAY_SECONDS = 25
"""No new batch after this; the function has 50, and a batch takes some 5 of an outage."""

CLEANING_SECONDS = 100
"""No new batch after this; the function has 120, and the last batch may take 8."""


def handle_commands(log: Logger) -> Callable[[Envelope], use_cases.Answered]:
    """Return `envelope -> answered`: one step of the saga."""
    from inventory.adapters.announcements import OutboxAnnouncements
    from inventory.adapters.books import SqlBooks
    from inventory.adapters.commands import command_of, task_token_of
    from inventory.adapters.saga import StepFunctionsSaga
    from shared.clients import client

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
    from inventory.adapters.announcements import OutboxAnnouncements
    from inventory.adapters.books import SqlBooks
    from inventory.domain import delivery_from

    database = engine(setting("DATABASE_URL"))
    receive = partial(
        use_cases.receive_stock,
        books=SqlBooks(database),
        announcements=OutboxAnnouncements(_outbox(database), log),
    )
    return lambda payload: receive(delivery_from(payload))


def import_stock(log: Logger) -> Callable[[Any, Callable[[], float]], Iterator[dict[str, Any]]]:
    """Return `event, seconds_left -> what came of each file`."""
    from inventory import imports
    from inventory.adapters.announcements import OutboxAnnouncements
    from inventory.adapters.files import S3Files, price_lists_in
    from inventory.adapters.imports import SqlImports
    from shared.clients import client

    database = engine(setting("DATABASE_URL"))
    import_one = partial(
        imports.import_stock,
        ledger=SqlImports(database),
        files=S3Files(client("s3")),
        publication=OutboxAnnouncements(_outbox(database), log),
    )

    def import_all(event: Any, seconds_left: Callable[[], float]) -> Iterator[dict[str, Any]]:
        for file in price_lists_in(event):
            yield import_one(file, seconds_left=seconds_left)

    return import_all


def get_import() -> Callable[[Any], dict[str, Any]]:
    """Return `payload -> how far the import is`."""
    from inventory import imports
    from inventory.adapters.imports import SqlImports

    return partial(imports.get_import, ledger=SqlImports(engine(setting("DATABASE_URL"))))


def relay_outbox() -> Callable[[], int]:
    """Return `() -> how many facts were published`."""
    waiting = _outbox(engine(setting("DATABASE_URL")))
    return partial(waiting.relay, older_than=RELAY_AGE, seconds=RELAY_SECONDS)


def clean_up() -> Callable[[], dict[str, int]]:
    """Return `() -> how much of what was removed`."""
    from inventory.adapters.cleaning import SqlAttic

    days = int(setting("OUTBOX_DAYS"))
    attic = SqlAttic(engine(setting("DATABASE_URL")), outbox_days=days)
    return lambda: {"outbox_rows": attic.empty_outbox(seconds=CLEANING_SECONDS)}


def migrate() -> Callable[[], str]:
    """Return `() -> the revision reached`."""
    from shared.migrations import migrate as upgrade

    scripts = Path(__file__).parent / "migrations"
    return partial(upgrade, engine(setting("DATABASE_URL")), scripts)


def _outbox(database: Any) -> Any:
    from inventory.adapters.tables import outbox
    from shared.clients import client
    from shared.outbox import Outbox
    from shared.publisher import FactPublisher

    # What is to be told is committed, and the relay tells it again: give up while there is time
    # left to answer.
    sns = client("sns", read_timeout=2, attempts=2)
    publisher = FactPublisher(sns, setting("EVENTS_TOPIC_ARN"))
    return Outbox(database, outbox, publisher)
