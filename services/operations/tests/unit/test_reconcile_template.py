"""What the reconciler is allowed and how long it may take, where YAML cannot say it itself."""

from pathlib import Path
from typing import Any

import yaml

from operations import bootstrap

SERVICE = Path(__file__).parents[2]
SAGA = "${self:custom.placeOrderSagaArn}"
EXECUTIONS = "${file(../../shared/serverless/names.yml):placeOrderExecutionArns}"


def described() -> Any:
    return yaml.safe_load((SERVICE / "serverless.yml").read_text())


def test_the_reconciler_may_start_list_and_describe_this_saga_and_nothing_else() -> None:
    statements = described()["functions"]["reconcile"]["iamRoleStatements"]
    allowed = {
        (action, statement["Resource"])
        for statement in statements
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    }
    assert allowed == {
        ("states:StartExecution", SAGA),
        ("states:ListExecutions", SAGA),
        ("states:DescribeExecution", EXECUTIONS),
    }


def test_a_run_stops_looking_before_it_would_be_killed_and_before_the_next_begins() -> None:
    function = described()["functions"]["reconcile"]
    # What is in hand when time is up: three undos and a saga asked for, and a start, each tried
    # three times for five seconds.
    assert bootstrap.RECONCILE_SECONDS + 5 * 3 * 5 < function["timeout"] <= 5 * 60
    assert function["events"] == [{"schedule": "${self:custom.schedules.reconcile}"}]
    for stage in described()["custom"]["schedulesOf"].values():
        assert stage["reconcile"] == {"rate": "rate(5 minutes)", "enabled": True}


def test_every_stage_gives_the_relay_two_rounds_before_a_saga_is_missed() -> None:
    for clocks in described()["custom"]["reconcilingOf"].values():
        assert clocks["started"] > 2 * 60
        assert clocks["started"] > clocks["settled"] > 0
