"""What the deployment description promises, where YAML cannot say it itself."""

from pathlib import Path
from typing import Any

import yaml

from shared.contracts.inventory import ProductListed

SERVICE = Path(__file__).parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((SERVICE / name).read_text())


def test_a_message_stays_hidden_for_six_times_as_long_as_its_function_may_run() -> None:
    custom = read("serverless.yml")["custom"]
    assert custom["catalogueVisibilityTimeout"] >= 6 * custom["catalogueTimeout"]


def test_the_saga_waits_longer_for_a_step_than_the_step_may_run() -> None:
    described = read("serverless.yml")
    steps = ("charge", "refund", "confirm", "withdraw", "close", "park")
    longest = max(
        function["timeout"]
        for name, function in described["functions"].items()
        if name.startswith(steps)
    )
    for stage in described["custom"]["sagaStages"].values():
        assert stage["functionTimeout"] > longest


def test_the_queue_is_subscribed_to_the_products_that_inventory_lists() -> None:
    subscription = read("resources/queues.yml")["Resources"]["CatalogueSubscription"]["Properties"]
    assert subscription["FilterPolicy"]["type"] == [ProductListed.TYPE]
    assert subscription["RawMessageDelivery"] is True


def test_every_function_is_named_as_its_handler() -> None:
    for name, function in read("serverless.yml")["functions"].items():
        module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        assert function["handler"] == f"orders/handlers/{module}.handler"
        assert (SERVICE / f"orders/handlers/{module}.py").exists()
        assert "iamRoleStatements" in function


def test_every_handler_is_deployed() -> None:
    handlers = {path.stem for path in (SERVICE / "orders/handlers").glob("[a-z]*.py")}
    deployed = {
        function["handler"].split("/")[-1].removesuffix(".handler")
        for function in read("serverless.yml")["functions"].values()
    }
    assert handlers == deployed
