"""What is deployed is what is in the tree, complete, and as Lambda likes it."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.artifacts.budgets import BUDGETS, KINDS, kind_of
from tests.artifacts.packages import (
    RUNTIME,
    SERVICES,
    Package,
    deployed,
    environment,
    functions,
    package,
)

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
def test_a_handler_imports_in_the_runtime_with_its_own_settings_and_within_its_budget(
    service: str, name: str
) -> None:
    packed = package(service)
    function = deployed(packed, name)
    before = _contents(packed.code)
    done = subprocess.run(
        # -I: no environment, no user's site, no current folder: only the zip and the runtime.
        [str(RUNTIME), "-I", str(PROGRAM), str(packed.code), function["Handler"]],
        env=environment(function),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["callable"], found["strangers"]) == (True, [])
    kind = KINDS[kind_of(f"{service}/{name}")]
    for banned in kind["never"]:
        assert [m for m in found["modules"] if m == banned or m.startswith(f"{banned}.")] == []
    assert len(found["modules"]) <= kind["modules"][f"{service}/{name}"]
    # Lambda's code folder is read-only, but root may write anywhere: so look.
    assert _contents(packed.code) == before


def test_every_function_has_one_budget_and_no_budget_is_without_its_function() -> None:
    budgeted = [function for kind in KINDS.values() for function in kind["modules"]]
    described = [f"{service}/{name}" for service in SERVICES for name in functions(service)]
    assert sorted(budgeted) == sorted(described)


def test_the_zip_is_within_its_budget(packed: Package) -> None:
    assert packed.zip.stat().st_size <= BUDGETS["zip_mb"][packed.name] * 1_000_000


def test_every_function_of_the_description_is_deployed(packed: Package) -> None:
    lambdas = packed.resources("AWS::Lambda::Function").values()
    named = {f"{packed.name}-local-{name}" for name in functions(packed.name)}
    assert {function["FunctionName"] for function in lambdas} == named


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
    sources = packed.code.rglob("*.py")
    compiled = [Path(importlib.util.cache_from_source(str(source))) for source in sources]
    assert [path for path in compiled if not path.exists()] == []
    # Bytes 4 to 8 are flags: 1 is "by hash, and do not check".
    flags = {path: path.read_bytes()[4:8] for path in packed.code.rglob("*.pyc")}
    assert {path for path, flag in flags.items() if flag != b"\x01\x00\x00\x00"} == set()


def test_our_modules_have_their_source_and_no_other_has(packed: Package) -> None:
    sources = {path.relative_to(packed.code).parts[0] for path in packed.code.rglob("*.py")}
    assert sources == {packed.name, "shared"}


def test_no_native_library_carries_debug_information(packed: Package) -> None:
    for library in packed.code.rglob("*.so*"):
        with library.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                if section.name.startswith(".debug_"):
                    assert section.data().strip(b"\0") == b"", library


def test_the_code_fits_into_lambda(packed: Package) -> None:
    size = sum(path.stat().st_size for path in packed.code.rglob("*") if path.is_file())
    assert size < LAMBDA_MAX_UNPACKED


@pytest.mark.parametrize("service", SERVICES)
def test_packaging_the_same_tree_elsewhere_gives_the_same_bytes(service: str) -> None:
    first, second = package(service), package(service, copy="second")
    assert first.zip.read_bytes() == second.zip.read_bytes()


def _contents(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def _sources(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
