"""What the deployment description promises, where YAML cannot say it itself."""

from pathlib import Path
from typing import Any

import yaml

from operations.adapters.databases import STATEMENT_SECONDS

SERVICE = Path(__file__).parents[2]
# What a role that only looks may do.
LOOKING = ("Describe", "Get", "List", "Scan", "Query")


def read(name: str) -> Any:
    return yaml.safe_load((SERVICE / name).read_text())


def test_every_function_is_named_as_its_handler() -> None:
    for name, function in read("serverless.yml")["functions"].items():
        module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        assert function["handler"] == f"operations/handlers/{module}.handler"
        assert (SERVICE / f"operations/handlers/{module}.py").exists()
        assert "iamRoleStatements" in function


def test_the_audit_may_only_look() -> None:
    for statement in read("serverless.yml")["functions"]["audit"]["iamRoleStatements"]:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert action.partition(":")[2].startswith(LOOKING), action


def test_the_databases_give_up_before_the_function_is_killed() -> None:

    assert read("serverless.yml")["functions"]["audit"]["timeout"] > STATEMENT_SECONDS
