"""The only wiring: what each handler needs, from its settings."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from operations import use_cases
from operations.adapters.books import SqlBooks
from operations.adapters.consumers import Consumers
from operations.adapters.databases import reading
from operations.adapters.sagas import Sagas
from operations.domain import Finding, Patience
from shared.clients import client
from shared.config import setting


def audit() -> Callable[[Any], Sequence[Finding]]:
    """Return `request -> findings`."""
    books = SqlBooks(
        reading(setting("ORDERS_DATABASE_URL")),
        reading(setting("INVENTORY_DATABASE_URL")),
        Consumers(
            client("dynamodb"),
            records=setting("IDEMPOTENCY_TABLE"),
            deliveries=setting("DELIVERIES_TABLE"),
            sales=setting("SALES_TABLE"),
        ),
        Sagas(client("stepfunctions"), setting("PLACE_ORDER_SAGA_ARN")),
    )
    usual = Patience(
        sagas=int(setting("SAGAS_SECONDS")),
        outboxes=int(setting("OUTBOXES_SECONDS")),
        effects=int(setting("EFFECTS_SECONDS")),
        deploys=int(setting("DEPLOYS_SECONDS")),
    )
    return partial(use_cases.audit, usual=usual, books=books)
