"""What the deployment description promises, where YAML cannot say it itself."""

from pathlib import Path
from typing import Any

import yaml

from shared.contracts import orders

SERVICE = Path(__file__).parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((SERVICE / name).read_text())


def test_a_message_stays_hidden_for_six_times_as_long_as_its_function_may_run() -> None:
    custom = read("serverless.yml")["custom"]
    assert custom["commandsVisibilityTimeout"] >= 6 * custom["commandsTimeout"]


def test_the_queue_is_subscribed_to_every_command_that_the_saga_publishes() -> None:
    subscription = read("resources/queues.yml")["Resources"]["CommandsSubscription"]["Properties"]
    types = [command.TYPE for command in orders.COMMANDS]
    assert sorted(subscription["FilterPolicy"]["type"]) == sorted(types)
    assert subscription["RawMessageDelivery"] is True


def test_every_function_is_named_as_its_handler() -> None:
    for name, function in read("serverless.yml")["functions"].items():
        module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        assert function["handler"] == f"inventory/handlers/{module}.handler"
        assert (SERVICE / f"inventory/handlers/{module}.py").exists()
        assert "iamRoleStatements" in function
