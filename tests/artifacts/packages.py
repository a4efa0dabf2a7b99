"""Packages the five stacks as a deploy does, away from the tree, and only when something changed.

The copy under `.local/test-packages/` has its own `.serverless` folders: a deploy that runs at the
same time is not disturbed, and nobody tests yesterday's zip.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.support.templates import load

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / ".local/venvs/runtime/bin/python"
FOLDER = ROOT / ".local/test-packages"
SERVICES = ("orders", "inventory", "notifications", "operations")
STACKS = ("platform", *SERVICES)
STAGES = ("local", "dev", "prod")
GIVEN = {
    "ORDERFLOW_NETWORK": "given",
    "ORDERFLOW_VPC_ID": "vpc-0123456789abcdef0",
    "ORDERFLOW_VPC_CIDR": "10.9.0.0/16",
    "ORDERFLOW_SUBNET_1": "subnet-0123456789abcdef1",
    "ORDERFLOW_SUBNET_2": "subnet-0123456789abcdef2",
}

_INPUTS = ("platform", "services", "shared", "tools", "constraints.txt", "package.json")
_LOCKS = ("package-lock.json", ".python-version")
_HOUR = 3600
# The plugins that fill a zip.
_FILLING = ("  - serverless-python-requirements\n", "  - serverless-bytecode\n")
_NO_INPUT = (".serverless", "__pycache__", "node_modules", "tests", "*.pyc", "*.egg-info")


@dataclass(frozen=True)
class Package:
    """One packaged stack: its folder, with `.serverless` and the unpacked zip (none: platform)."""

    name: str
    tree: Path  # the copy of the whole tree that it was packaged in
    folder: Path

    @property
    def zip(self) -> Path:
        return self.folder / f".serverless/{self.name}.zip"

    @property
    def code(self) -> Path:
        return self.folder / ".unpacked"

    @property
    def template_path(self) -> Path:
        return self.folder / ".serverless/cloudformation-template-update-stack.json"

    @property
    def template(self) -> dict[str, Any]:
        return dict(json.loads(self.template_path.read_text()))

    def resources(self, type_: str) -> dict[str, dict[str, Any]]:
        """Return the properties of the template's resources of one type, by logical name."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == type_
        }


@cache
def functions(service: str) -> dict[str, dict[str, Any]]:
    """Return the functions of a service's description, by name."""
    return dict(load(ROOT / f"services/{service}/serverless.yml")["functions"])


def deployed(packed: Package, name: str) -> dict[str, Any]:
    """Return a function's properties in the template, by its name in the description."""
    return packed.resources("AWS::Lambda::Function")[f"{name[0].upper()}{name[1:]}LambdaFunction"]


def environment(function: dict[str, Any]) -> dict[str, str]:
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


def package(stack: str, *, stage: str = "local", copy: str = "first") -> Package:
    """Package one stack, unless this very content was packaged before; `copy` names the tree.

    A stage other than the local one gets its template alone: to install the same dependencies once
    more is what takes the time. A test holds that this changes nothing in the template.
    """
    return _package(stack, stage, copy if stage == "local" else stage, filled=stage == "local")


def template_alone(stack: str) -> Package:
    """Package the local stage of a stack as other stages are packaged."""
    return _package(stack, "local", "template", filled=False)


def in_a_given_network() -> Package:
    """Package platform's stage dev as for an account that has a VPC already."""
    return _package("platform", "dev", "given", filled=False, settings=GIVEN)


def _package(
    stack: str,
    stage: str,
    copy: str,
    *,
    filled: bool,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Package:
    tree = kept_for_this_content() / copy
    folder = tree / ("platform" if stack == "platform" else f"services/{stack}")
    done = Package(stack, tree, folder)
    with locked(f"{copy}.copy"):
        if not tree.exists():
            _clear_old()
            _copy(tree)
    with locked(f"{copy}.{stack}"):
        if not (folder / ".packaged").exists():
            if not filled:
                description = folder / "serverless.yml"
                lines = description.read_text().splitlines(keepends=True)
                description.write_text("".join(line for line in lines if line not in _FILLING))
            _sls_package(folder, stage, settings)
            if filled and done.zip.exists():
                with zipfile.ZipFile(done.zip) as archive:
                    archive.extractall(done.code)
            (folder / ".packaged").touch()
    return done


def _sls_package(folder: Path, stage: str, settings: Mapping[str, str]) -> None:
    # No credentials, no endpoint: packaging must ask nobody.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "ORDERFLOW_"))
    }
    environment["ORDERFLOW_PYTHON"] = str(ROOT / ".venv/bin/python")
    if stage != "local":
        environment["ORDERFLOW_OPERATOR_EMAIL"] = "operator@orderflow.example"
        environment["ORDERFLOW_SENDER_EMAIL"] = "orders@orderflow.example"
    environment |= settings
    done = subprocess.run(
        [str(ROOT / "node_modules/.bin/sls"), "package", "--stage", stage],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"sls package in {folder}:\n{done.stdout}{done.stderr}")


def _clear_old() -> None:
    """Remove the packages of contents that nobody has asked for in the last hour."""
    for folder in FOLDER.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > _HOUR:
            shutil.rmtree(folder, ignore_errors=True)


def _copy(final: Path) -> None:
    # Under another name until it is whole: a killed run must not leave half a tree behind.
    tree = final.with_name(f"{final.name}.part")
    shutil.rmtree(tree, ignore_errors=True)
    for name in (*_INPUTS, *_LOCKS):
        source, target = ROOT / name, tree / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_NO_INPUT))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (tree / "node_modules").symlink_to(ROOT / "node_modules")
    tree.rename(final)


@cache
def _digest() -> str:
    """Return a name for the content; what is edited while the tests run is for the next run."""
    sum_ = hashlib.sha256()
    for name in (*_INPUTS, *_LOCKS):
        for path in sorted(_files(ROOT / name)):
            sum_.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return sum_.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for child in path.iterdir():
        if not any(child.match(pattern) for pattern in _NO_INPUT):
            yield from _files(child)


def kept_for_this_content() -> Path:
    """Return the folder of what is made of this very content, by this run or one before."""
    return FOLDER / _digest()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of this name among all test processes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
