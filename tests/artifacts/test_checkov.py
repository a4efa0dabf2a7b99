"""Checkov's rules for AWS hold in every stage there, or the reason why not is written down."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.artifacts.packages import FOLDER, ROOT, STACKS, kept_for_this_content, locked, package
from tests.artifacts.policies import REASONS

CHECKOV = ROOT / ".local/venvs/checkov/bin/checkov"
# The local stage is no cloud: test_policies.py holds what is asked of it.
STAGES = ("dev", "prod")
# Goes along with the templates, so that silence means something.
WRONG = {
    "Open": {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicRead"}},
    "Plain": {"Type": "AWS::SQS::Queue", "Properties": {}},
}

Finding = tuple[str, str, str]  # check, stack and stage, resource

# Packagings, then checkov's own time on a busy machine.
pytestmark = pytest.mark.timeout(900)


@cache
def reported() -> frozenset[Finding]:
    """Return what checkov does not like, in one run over all templates, whoever asks first."""
    report = kept_for_this_content() / "checkov.json"
    templates = {
        f"{stack}-{stage}": package(stack, stage=stage).template_path
        for stage in STAGES
        for stack in STACKS
    }
    with locked("checkov"):
        if not report.exists():
            # Not beside the report: a path of a certain length looks to checkov like a secret.
            folder = FOLDER / "checkov"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for name, path in templates.items():
                shutil.copy(path, folder / f"{name}.json")
            (folder / "wrong.json").write_text(json.dumps({"Resources": WRONG}))
            text = _run(folder)
            report.write_text(text)
    found = json.loads(report.read_text())
    assert found["summary"]["parsing_errors"] == 0
    return frozenset(
        (check["check_id"], Path(check["file_path"]).stem, check["resource"])
        for check in found["results"]["failed_checks"]
    )


def _run(folder: Path) -> str:
    assert CHECKOV.exists(), "make test-artifacts installs it"
    done = subprocess.run(
        [
            *(str(CHECKOV), "--directory", str(folder), "--framework", "cloudformation"),
            # It would ask its maker's server for guidelines.
            *("--skip-download", "--quiet", "--compact", "--output", "json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    json.loads(done.stdout)  # or it has said something else
    return done.stdout


def findings() -> frozenset[Finding]:
    return frozenset(found for found in reported() if found[1] != "wrong")


def reasons_for(finding: Finding) -> set[int]:
    check, _, resource = finding
    return {
        number
        for number, reason in enumerate(REASONS["checkov"])
        if reason["check"] == check and re.fullmatch(reason["resource"], resource)
    }


def test_checkov_finds_nothing_that_has_no_reason() -> None:
    assert sorted(found for found in findings() if not reasons_for(found)) == []


def test_every_reason_that_checkov_is_given_is_needed() -> None:
    needed = {number for found in findings() for number in reasons_for(found)}
    assert needed == set(range(len(REASONS["checkov"])))


def test_checkov_looks_into_every_template_and_sees_what_is_wrong() -> None:
    assert ("CKV_AWS_20", "wrong", "AWS::S3::Bucket.Open") in reported()
    assert ("CKV_AWS_27", "wrong", "AWS::SQS::Queue.Plain") in reported()
    # Each has something that is reasoned about, be it the framework's bucket.
    looked = {template for _, template, _ in findings()}
    assert looked == {f"{stack}-{stage}" for stack in STACKS for stage in STAGES}
