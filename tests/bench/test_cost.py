"""`make cost`: works with no cloud, says what its figures rest on, and names what it cannot use."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cost, report


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "BENCH", tmp_path / "bench")
    monkeypatch.setattr(report, "PLOTS", tmp_path / "plots")


def result(tmp_path: Path) -> dict[str, Any]:
    return dict(json.loads((tmp_path / "bench/cost.json").read_text()))


def test_a_thousand_orders_are_priced_and_the_shares_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cost.main([]) == 0
    printed = capsys.readouterr().out
    profile = json.loads(cost.PROFILE.read_text())
    assert profile["measured_at"] in printed
    assert "us-east-1" in printed
    found = result(tmp_path)
    for outcome in cost.OUTCOMES:
        assert sum(found["by_service"][outcome].values()) == pytest.approx(found["usd"][outcome])
        assert sum(found["by_owner"][outcome].values()) == pytest.approx(found["usd"][outcome])
    assert (tmp_path / "plots/lambda-or-container.svg").read_text().startswith("<?xml")


def test_twice_the_orders_cost_twice_as_much(tmp_path: Path) -> None:
    assert cost.main(["--orders", "500"]) == 0
    half = result(tmp_path)["usd"]["confirmed"]
    assert cost.main(["--orders", "1000"]) == 0
    assert result(tmp_path)["usd"]["confirmed"] == pytest.approx(2 * half)


def test_a_price_of_ones_own_changes_its_line_and_leaves_the_documents_plot_alone(
    tmp_path: Path,
) -> None:
    assert cost.main(["--set", "step_functions.transition=0"]) == 0
    assert "Step Functions" in result(tmp_path)["by_service"]["confirmed"]
    assert result(tmp_path)["by_service"]["confirmed"]["Step Functions"] == 0
    assert not (tmp_path / "plots").exists()


def test_the_same_figures_draw_the_same_plot(tmp_path: Path) -> None:
    plot = tmp_path / "plots/lambda-or-container.svg"
    cost.main([])
    first = plot.read_bytes()
    cost.main([])
    assert plot.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--set", "lambda.nothing=1"], "lambda.nothing"),
        (["--prices", "/nowhere/prices.toml"], "/nowhere/prices.toml"),
    ],
)
def test_what_cannot_be_used_is_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cost.main(arguments) == 2
    assert named in capsys.readouterr().out
