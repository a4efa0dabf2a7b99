"""The only wiring: what each handler needs, from its settings."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from operations import reconciliation, use_cases
from operations.adapters.books import SqlBooks
from operations.adapters.consumers import Consumers
from operations.adapters.databases import reading
from operations.adapters.executions import StepFunctionsExecutions
from operations.adapters.sagas import Sagas
from operations.adapters.suspects import SqlSuspects
from operations.domain import Finding, Patience
from operations.reconciliation import Reconciled
from operations.repairs import Clocks
from shared.clients import client
from shared.config import setting

RECONCILE_SECONDS = 200
"""Nothing new is looked into after this; the function has 300, and the reading took some of it."""


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
        facts=int(setting("FACTS_DAYS")) * 24 * 3600,
    )
    return partial(use_cases.audit, usual=usual, books=books)


def reconcile() -> Callable[[Any], Reconciled]:
    """Return `request -> what was found and done`."""
    # Orders wait for no single call: the next run makes it again.
    states = client("stepfunctions", read_timeout=5, attempts=3)
    saga = setting("PLACE_ORDER_SAGA_ARN")
    return partial(
        reconciliation.reconcile,
        books=SqlSuspects(
            reading(setting("ORDERS_DATABASE_URL")),
            reading(setting("INVENTORY_DATABASE_URL")),
            Sagas(states, saga),
        ),
        executions=StepFunctionsExecutions(states, saga),
        clocks=Clocks(
            started=timedelta(seconds=int(setting("STARTED_SECONDS"))),
            settled=timedelta(seconds=int(setting("SETTLED_SECONDS"))),
            longest=timedelta(seconds=int(setting("SAGAS_SECONDS"))),
        ),
        clock=time.monotonic,
        seconds=RECONCILE_SECONDS,
    )
