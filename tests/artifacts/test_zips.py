"""What is deployed is what is in the tree, complete, and as Lambda likes it."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.packages import ROOT, SERVICES, Package, functions, package

RUNTIME = ROOT / ".local/venvs/runtime/bin/python"
PROGRAM = Path(__file__).with_name("import_handler.py")
HANDLERS = [
    pytest.param(service, name, id=f"{service}-{name}")
    for service in SERVICES
    for name in functions(service)
]
# The runtime has these; a second copy would shadow it, and boto3 alone is 15 MB.
RUNTIME_HAS = {"boto3", "botocore", "s3transfer", "urllib3", "jmespath", "dateutil", "six.py"}
LAMBDA_MAX_UNPACKED = 250 * 2**20


@pytest.fixture(params=SERVICES)
def packed(request: pytest.FixtureRequest) -> Package:
    return package(str(request.param))


@pytest.mark.parametrize(("service", "name"), HANDLERS)
def test_a_handler_imports_in_the_runtime_with_its_own_settings(service: str, name: str) -> None:
    packed = package(service)
    function = packed.resources("AWS::Lambda::Function")[
        f"{name[0].upper()}{name[1:]}LambdaFunction"
    ]
    before = _contents(packed.code)
    done = subprocess.run(
        # -I: no environment, no user's site, no current folder: only the zip and the runtime.
        [str(RUNTIME), "-I", str(PROGRAM), str(packed.code), function["Handler"]],
        env=_environment(function),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"callable": True, "strangers": []}
    # Lambda's code folder is read-only, but root may write anywhere: so look.
    assert _contents(packed.code) == before


def test_every_function_of_the_description_is_deployed(packed: Package) -> None:
    deployed = packed.resources("AWS::Lambda::Function").values()
    named = {f"{packed.name}-local-{name}" for name in functions(packed.name)}
    assert {function["FunctionName"] for function in deployed} == named


def test_the_shared_code_in_the_zip_is_that_of_the_tree(packed: Package) -> None:
    assert _sources(packed.code / "shared") == _sources(packed.tree / "shared/src/shared")


def test_the_services_code_in_the_zip_is_that_of_the_tree(packed: Package) -> None:
    assert _sources(packed.code / packed.name) == _sources(packed.folder / packed.name)


def test_the_zip_holds_no_other_service_and_nothing_that_the_runtime_has(packed: Package) -> None:
    top = {path.name for path in packed.code.iterdir()}
    others = {*SERVICES, "localcloud", "platform"} - {packed.name}
    assert top & (RUNTIME_HAS | others) == set()


def test_the_zip_holds_no_tests(packed: Package) -> None:
    strays = [
        path.relative_to(packed.code).as_posix()
        for path in packed.code.rglob("*")
        if path.is_dir() and path.name in {"tests", "testing", "test"}
    ]
    assert strays == []


def test_every_module_comes_with_bytecode_that_is_never_stale(packed: Package) -> None:
    missing = []
    for source in packed.code.rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(source)))
        # Bytes 4 to 8 are flags: 1 is "by hash, and do not check".
        if not compiled.exists() or compiled.read_bytes()[4:8] != b"\x01\x00\x00\x00":
            missing.append(source.relative_to(packed.code).as_posix())
    assert missing == []


def test_the_code_fits_into_lambda(packed: Package) -> None:
    size = sum(path.stat().st_size for path in packed.code.rglob("*") if path.is_file())
    assert size < LAMBDA_MAX_UNPACKED


# One with native code and one without; the third is made the same way, and takes as long again.
@pytest.mark.parametrize("service", ["inventory", "notifications"])
def test_packaging_the_same_tree_elsewhere_gives_the_same_bytes(service: str) -> None:
    first, second = package(service), package(service, copy="second")
    assert first.zip.read_bytes() == second.zip.read_bytes()


def _environment(function: dict[str, Any]) -> dict[str, str]:
    """Return what Lambda sets: the template's variables, and its own."""
    variables = function["Environment"]["Variables"]
    return {
        **{name: _text(value) for name, value in variables.items()},
        "PATH": "/usr/bin:/bin",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_FUNCTION_NAME": function["FunctionName"],
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return re.sub(r"\$\{AWS::\w+\}", "x", str(value.get("Fn::Sub", "reference")))
    return str(value)


def _contents(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def _sources(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
