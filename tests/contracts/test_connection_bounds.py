"""How many connections a burst of messages can open: one an environment, and a valve on each queue.

The API and the saga's own steps follow the customers, and are bounded by the account's concurrency,
or by RDS Proxy (docs/performance.md, Connections).
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# What docs/performance.md states.
STATED = {"orders": 2, "inventory": 10}


def functions(service: str) -> dict[str, Any]:
    text = (ROOT / "services" / service / "serverless.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["functions"]
    return found


@pytest.mark.parametrize("service", STATED)
def test_however_long_its_queues_a_service_opens_no_more_connections_than_stated(
    service: str,
) -> None:
    valves = [
        event["sqs"]["maximumConcurrency"]
        for function in functions(service).values()
        if "DATABASE_URL" in function.get("environment", {})
        for event in function.get("events", [])
        if "sqs" in event
    ]
    assert valves
    assert sum(valves) == STATED[service]
    page = (ROOT / "docs/performance.md").read_text()
    assert f"{service} {STATED[service]}" in page
