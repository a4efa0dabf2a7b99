"""What docs/deploying.md says a stage costs at rest is what its templates come to."""

import re

import pytest

from bench.standing_cost import bill, prices
from tests.artifacts.packages import ROOT

STAGES = ("dev", "prod")


def told() -> dict[str, float]:
    text = (ROOT / "docs/deploying.md").read_text()
    (row,) = re.findall(r"^\| \*\*together\*\* \|(.*)\|$", text, re.MULTILINE)
    sums = [float(cell.strip(" *")) for cell in row.split("|")]
    return dict(zip(STAGES, sums, strict=True))


@pytest.mark.parametrize("stage", STAGES)
def test_the_page_tells_what_a_stage_costs_at_rest(stage: str) -> None:
    together = sum(line.month for line in bill(stage, prices()))
    # A function more is two alarms more: no reason to write the page anew.
    assert together == pytest.approx(told()[stage], rel=0.05)


def test_a_price_can_be_replaced() -> None:
    plain, dearer = prices(), prices(["kms.key_month=11"])
    difference = sum(line.month for line in bill("dev", dearer)) - sum(
        line.month for line in bill("dev", plain)
    )
    assert difference == pytest.approx(10)


def test_a_price_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match=r"no price is called kms\.hour"):
        prices(["kms.hour=1"])
