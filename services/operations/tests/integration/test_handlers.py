"""The function as Lambda calls it, on a world of its own."""

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.support.invocation import Invocation
from tests.support.postgres import auditor_url

from .conftest import World


@pytest.fixture
def audit(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """Import the function anew, as a cold start does, on databases of its own."""
    world.copy("orders")
    world.copy("inventory")
    for name, value in {
        "POWERTOOLS_SERVICE_NAME": f"operations-{id(world)}",
        "POWERTOOLS_METRICS_NAMESPACE": "Orderflow/test",
        "ORDERS_DATABASE_URL": auditor_url(world.orders),
        "INVENTORY_DATABASE_URL": auditor_url(world.inventory),
        "PLACE_ORDER_SAGA_ARN": world.state_machine,
        "IDEMPOTENCY_TABLE": world.consumers.records,
        "DELIVERIES_TABLE": world.consumers.deliveries,
        "SALES_TABLE": world.consumers.sales,
        "SAGAS_SECONDS": "3600",
        "OUTBOXES_SECONDS": "300",
        "EFFECTS_SECONDS": "0",
        "DEPLOYS_SECONDS": "0",
        "FACTS_DAYS": "88",
    }.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("operations.handlers.audit", None)
    yield importlib.import_module("operations.handlers.audit").handler
    sys.modules.pop("operations.handlers.audit", None)


def counted(capsys: pytest.CaptureFixture[str]) -> list[float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (numbers,) = (line for line in lines if "_aws" in line)
    found: list[float] = numbers["InvariantViolations"]
    return found


def test_each_violation_is_logged_once_and_counted(
    world: World,
    audit: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    order = world.an_order("CANCELLED")
    world.change(
        "orders",
        "UPDATE sandbox_gateway.ledger SET status = 'captured', amount = 5, currency = 'EUR'"
        " WHERE key = :id",
        id=order,
    )
    answer = json.loads(json.dumps(audit({}, Invocation())))
    assert sum(finding["count"] for finding in answer["findings"]) == 2
    told = [vars(line) for line in caplog.records if line.message == "invariant_violated"]
    violated = {line["subject"]: line["invariant"] for line in told}
    assert len(told) == len(violated)
    assert violated == {
        order: "an_undone_order_keeps_no_money",
        "EUR": "the_gateway_keeps_what_was_confirmed",
    }
    assert counted(capsys) == [2.0]


def test_an_audit_that_finds_nothing_counts_nothing_and_says_so(
    audit: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    audit({}, Invocation())
    (said,) = (vars(line) for line in caplog.records)
    assert (said["message"], said["violations"]) == ("audited", 0)
    assert counted(capsys) == [0.0]


def test_an_audit_that_cannot_look_fails(world: World, audit: Any) -> None:
    """Nobody must take "could not look" for "nothing found"."""
    with world.inventory.connect() as connection:
        connection.exec_driver_sql(
            f"REVOKE CONNECT ON DATABASE {world.inventory.url.database} FROM auditor"
        )
        connection.commit()
    with pytest.raises(OperationalError) as raised:
        audit({}, Invocation())
    assert "permission denied" in str(raised.value)
