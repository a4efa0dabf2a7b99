"""What runs by itself: of every service in one place, for each stage, with a switch."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.templates import load

ROOT = Path(__file__).parents[2]
SERVICES = ("orders", "inventory", "notifications", "operations")
STAGES = {"local", "dev", "prod"}
_RATE = re.compile(r"rate\([1-9][0-9]* (minute|minutes|hour|hours|day|days)\)|cron\(\S+( \S+){5}\)")


def scheduled(template: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, function in template["functions"].items():
        for event in function.get("events", []):
            if "schedule" in event and not is_ping(template, event["schedule"]):
                yield name, event["schedule"]


def is_ping(template: dict[str, Any], schedule: Any) -> bool:
    """Whether it only keeps a function warm: test_warm_up.py holds those."""
    if isinstance(schedule, str):
        reference = re.fullmatch(r"\$\{self:custom\.pings\.(\w+)\}", schedule)
        schedule = template["custom"]["pings"][reference[1]] if reference else {}
    return bool(schedule.get("input") == {"warm_up": True})


@pytest.mark.parametrize("service", SERVICES)
def test_every_schedule_has_a_time_and_a_switch_for_each_stage_in_one_place(service: str) -> None:
    template = load(ROOT / "services" / service / "serverless.yml")
    found = dict(scheduled(template))
    assert found
    # None is spelled out at its function.
    assert found == {name: f"${{self:custom.schedules.{name}}}" for name in found}
    of_stages = template["custom"]["schedulesOf"]
    assert of_stages.keys() == STAGES
    for stage in of_stages.values():
        assert stage.keys() == found.keys()
        for schedule in stage.values():
            assert schedule.keys() == {"rate", "enabled"}
            assert _RATE.fullmatch(schedule["rate"]), schedule
            assert isinstance(schedule["enabled"], bool)


def test_the_audit_looks_back_less_far_than_facts_are_kept() -> None:
    kept = yaml.safe_load((ROOT / "shared/serverless/retention.yml").read_text())
    assert kept["auditedDays"] < kept["outboxDays"]
    # A replay of a message, and a customer's patience, end before that.
    assert kept["idempotencyKeyDays"] >= 1
