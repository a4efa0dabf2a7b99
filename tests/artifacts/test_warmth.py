"""Each stage keeps warm what its description says, and every stage packages."""

from typing import Any

import pytest

from shared.warm_up import PING
from tests.artifacts.packages import Package, package

ENTRANCE = {"PlaceOrderLambdaFunction", "GetOrderLambdaFunction"}
REST = {
    "ListOrdersLambdaFunction",
    "ListProductsLambdaFunction",
    "ChargePaymentLambdaFunction",
    "ConfirmOrderLambdaFunction",
}


def pinged(packed: Package, state: str) -> set[str]:
    """Return the functions whose rule is in this state, and check what it sends."""
    found = set()
    for rule in packed.resources("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            if "Input" in target and rule["State"] == state:
                assert target["Input"] == '{"warm_up":true}'
                assert rule["ScheduleExpression"] == "rate(5 minutes)"
                found.add(_function(target["Arn"]))
    return found


def provisioned(packed: Package) -> dict[str, int]:
    """Return how many environments of which function are always ready."""
    return {
        alias["FunctionName"]["Ref"]: alias["ProvisionedConcurrencyConfig"][
            "ProvisionedConcurrentExecutions"
        ]
        for alias in packed.resources("AWS::Lambda::Alias").values()
    }


def test_the_ping_of_the_schedule_is_the_one_that_handlers_answer() -> None:
    assert PING == {"warm_up": True}


@pytest.mark.parametrize("service", ["orders", "inventory"])
def test_the_local_stage_pings_nobody_and_provisions_nothing(service: str) -> None:
    packed = package(service)
    assert pinged(packed, "ENABLED") == set()
    assert pinged(packed, "DISABLED")
    assert provisioned(packed) == {}


def test_a_stage_without_provisioned_concurrency_pings_the_whole_path() -> None:
    packed = package("orders", stage="dev")
    assert pinged(packed, "ENABLED") == ENTRANCE | REST
    assert provisioned(packed) == {}


def test_prod_provisions_the_entrance_and_pings_the_rest() -> None:
    packed = package("orders", stage="prod")
    assert provisioned(packed) == dict.fromkeys(ENTRANCE, 2)
    assert pinged(packed, "ENABLED") == REST
    assert pinged(packed, "DISABLED") == ENTRANCE


def test_requests_reach_the_environments_that_are_ready() -> None:
    """An alias that no integration names is paid for and never used."""
    uris = [
        str(method["Integration"]["Uri"])
        for method in package("orders", stage="prod").resources("AWS::ApiGateway::Method").values()
        if method["Integration"]["Type"] == "AWS_PROXY"
    ]
    assert uris
    for function in ENTRANCE:
        (uri,) = [uri for uri in uris if f"'{function}'" in uri]
        assert "':', 'provisioned'" in uri


def test_a_stage_pings_inventorys_commands() -> None:
    assert pinged(package("inventory", stage="prod"), "ENABLED") == {"HandleCommandsLambdaFunction"}


def _function(arn: dict[str, Any]) -> str:
    """Return the logical name of a target's function, or of the function of its alias."""
    if "Fn::Join" in arn:
        arn = arn["Fn::Join"][1][0]
    return str(arn["Fn::GetAtt"][0])
