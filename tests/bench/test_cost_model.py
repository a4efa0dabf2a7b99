"""The cost model against figures worked out by hand."""

from pathlib import Path
from typing import Any

import pytest

from bench import cost_model as model

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "bench/prices.toml").read_text()
ROUND = """
[lambda]
gb_second = 0.00002
request = 0.0000002
mb_per_vcpu = 2048
provisioned_gb_second = 0.000004
[api_gateway]
request = 0.000004
[step_functions]
transition = 0.00003
express_request = 0.000001
express_gb_second = 0.00002
[sns]
publish = 0.0000005
[sqs]
request = 0.0000004
[dynamodb]
write_unit = 0.000001
[ses]
mail = 0.0001
[logs]
gb = 0.5
[fargate]
vcpu_hour = 0.036
gb_hour = 0.0036
"""
PRICES = model.prices_from(ROUND)
# Waits for 30 ms and computes for 20 on a whole core, so for 80 on a quarter of one: 110 ms.
FUNCTION = model.Function(calls=2, billed_ms=50, cpu_ms=20, memory_mb=512, log_bytes=1000)
USAGE = model.Usage(
    functions={"orders.placeOrder": FUNCTION},
    api_requests=2,
    state_transitions=10,
    saga_seconds=1.21,
    sns_publishes={"orders": 4},
    sqs_messages={"inventory.commands": 2},
    dynamodb_write_units=16,
    mails=2,
)


def lines() -> dict[tuple[str, str], float]:
    return {(line.service, line.unit): line.usd for line in model.bill(USAGE, PRICES, orders=1000)}


def test_a_thousand_orders_cost_what_their_parts_cost() -> None:
    assert lines() == pytest.approx(
        {
            ("Lambda", "GB-s"): 0.0022,  # 2 x 0.5 GB x 0.110 s x 0.00002 x 1000
            ("Lambda", "requests"): 0.0004,
            ("CloudWatch Logs", "GB"): 0.0005,  # 1 MB
            ("API Gateway", "requests"): 0.008,
            ("Step Functions", "transitions"): 0.3,
            ("SNS", "requests"): 0.002,
            ("SQS", "requests"): 0.0024,  # sent, received, deleted
            ("DynamoDB", "units"): 0.016,
            ("SES", "mails"): 0.2,
        }
    )
    assert model.total(model.bill(USAGE, PRICES, orders=1000)) == pytest.approx(0.5315)


def test_what_a_function_computes_takes_longer_on_its_share_of_a_core_and_its_waits_do_not() -> (
    None
):
    assert model.run_seconds(FUNCTION, PRICES) == pytest.approx(0.110)
    big = model.Function(1, 50, 20, 4096, 0)
    assert model.run_seconds(big, PRICES) == pytest.approx(0.050)
    parallel = model.Function(1, 50, 80, 2048, 0)  # more CPU than time: two threads
    assert model.run_seconds(parallel, PRICES) == pytest.approx(0.080)


def test_the_shares_are_of_services_and_of_owners_and_add_up() -> None:
    bill = model.bill(USAGE, PRICES, orders=1000)
    by_service, by_owner = model.sums(bill, "service"), model.sums(bill, "owner")
    assert next(iter(by_service)) == "Step Functions"
    assert by_owner["notifications"] == pytest.approx(0.216)
    assert sum(by_service.values()) == pytest.approx(sum(by_owner.values()))


def test_a_standard_saga_costs_its_transitions_and_an_express_one_its_time() -> None:
    assert model.standard(USAGE, PRICES) == pytest.approx(0.0003)
    # 1.21 s are billed as 1.3, and 64 MB are a sixteenth of a GB.
    assert model.express(USAGE, PRICES) == pytest.approx(0.000001 + 1.3 / 16 * 0.00002)
    assert model.express(USAGE, PRICES, memory_mb=65) == pytest.approx(0.000001 + 1.3 / 8 * 0.00002)


def test_environments_that_are_kept_ready_cost_all_month() -> None:
    # 2 x 0.5 GB x 2,628,000 s x 0.000004
    assert model.provisioned_month(512, 2, PRICES) == pytest.approx(10.512)


def test_a_ping_every_five_minutes_costs_next_to_nothing() -> None:
    # 8760 pings of 0.5 GB x 2 ms x 0.00002, and their requests
    assert model.pings_month(512, 2, 300, PRICES) == pytest.approx(8760 * (0.00000002 + 0.0000002))


def test_the_container_is_cheaper_from_the_load_on_where_both_cost_the_same() -> None:
    container = model.Container(vcpus=1, gigabytes=2)
    assert container.hour(PRICES) == pytest.approx(0.0432)
    # Lambda asks 0.0000026 for an order, the container 0.000012 for a second.
    crossing = model.crossing(USAGE, container, PRICES)
    assert crossing.orders_per_second == pytest.approx(0.000012 / 0.0000026)
    assert crossing.utilisation == pytest.approx(0.000012 / 0.0000026 * 0.040)
    assert model.crossing(USAGE, model.Container(1, 2, tasks=2), PRICES).utilisation == (
        pytest.approx(crossing.utilisation)
    )


def test_code_that_only_computes_crosses_at_47_percent_by_the_prices_of_the_table() -> None:
    prices = model.prices_from(TABLE)
    crossing = model.crossing(model.pure_cpu(prices), model.Container(1, 2), prices)
    # (0.04048 + 2 x 0.004445) / 3600 over 1769/1024 x 0.0000166667 + 0.0000002
    assert crossing.utilisation == pytest.approx(0.47302, abs=0.00001)


def test_any_price_can_be_replaced() -> None:
    prices = model.prices_from(TABLE, ["lambda.gb_second=0.5", "sns.publish=0"])
    assert prices["lambda"]["gb_second"] == 0.5
    assert prices["sns"]["publish"] == 0


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("lambda.gb_secnd=1", "lambda.gb_secnd"),
        ("lambada.request=1", "lambada.request"),
        ("lambda.request", "lambda.request"),
        ("lambda.request=cheap", "cheap"),
        ("lambda.request=-1", "from 0 on"),
        ("lambda.request=nan", "from 0 on"),
    ],
)
def test_a_price_that_does_not_exist_or_is_none_is_named(override: str, named: str) -> None:
    with pytest.raises(model.BadInput, match=named):
        model.prices_from(TABLE, [override])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "outcomes"),
        ({"outcomes": {}}, "confirmed"),
        ({"outcomes": {"confirmed": {"functions": {}}}}, "api_requests"),
        ({"outcomes": {"confirmed": {"functions": {"orders.f": {"calls": 1}}}}}, "billed_ms"),
    ],
)
def test_a_profile_that_lacks_something_is_refused_by_name(content: Any, named: str) -> None:
    with pytest.raises(model.BadInput, match=named):
        model.usage_from(content, "confirmed")
