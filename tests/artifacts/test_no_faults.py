"""Faults on purpose belong to the local cloud: nothing that is deployed can be told to fail.

The local cloud sits between a function and its callers (localcloud/README.md), so a service needs
no line for it. This is the proof that AWS never sees one.
"""

import re

import pytest

from tests.artifacts.packages import SERVICES, STACKS, STAGES, Package, package

# The API of the rules, the package that serves it, and how a function's calls are known there.
TRACES = (b"_orderflow/", b"localcloud", b"AWS_SDK_UA_APP_ID")
SWITCH = re.compile(r"fault|chaos|inject", re.IGNORECASE)


@pytest.mark.parametrize("service", SERVICES)
def test_no_zip_holds_anything_of_the_faults(service: str) -> None:
    code = package(service).code
    files = [path for path in code.rglob("*") if path.is_file()]
    assert code / service / "bootstrap.py" in files
    assert [
        (path.relative_to(code).as_posix(), trace)
        for path in files
        for trace in TRACES
        if trace in path.read_bytes()
    ] == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("stack", STACKS)
def test_no_template_has_a_switch_for_faults(stack: str, stage: str) -> None:
    packed = package(stack, stage=stage)
    text = packed.template_path.read_bytes()
    assert [trace for trace in TRACES if trace in text] == []
    assert _switches(packed) == []


def _switches(packed: Package) -> list[tuple[str, str]]:
    return [
        (function["FunctionName"], variable)
        for function in packed.resources("AWS::Lambda::Function").values()
        for variable in function["Environment"]["Variables"]
        if SWITCH.search(variable)
    ]
