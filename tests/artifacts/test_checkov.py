"""Checkov's rules for AWS hold in every stage there, or the reason why not is written down."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.artifacts.packages import FOLDER, ROOT, STACKS, package
from tests.artifacts.policies import REASONS

CHECKOV = ROOT / ".local/venvs/checkov/bin/checkov"
# The local stage is no cloud: test_policies.py holds what is asked of it.
STAGES = ("dev", "prod")

Finding = tuple[str, str, str]  # check, stack and stage, resource

# Packagings, then minutes of checkov on a busy machine.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("checkov")]


@cache
def findings() -> frozenset[Finding]:
    """Return what checkov does not like in any stack of any stage on AWS: one run over all."""
    folder = FOLDER / "checkov"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for stage in STAGES:
        for stack in STACKS:
            shutil.copy(package(stack, stage=stage).template_path, folder / f"{stack}-{stage}.json")
    return _run(folder)


def _run(folder: Path) -> frozenset[Finding]:
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
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 0
    return frozenset(
        (found["check_id"], Path(found["file_path"]).stem, found["resource"])
        for found in report["results"]["failed_checks"]
    )


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


def test_checkov_sees_what_is_wrong(tmp_path: Path) -> None:
    open_bucket = {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicRead"}}
    queue = {"Type": "AWS::SQS::Queue", "Properties": {}}
    text = json.dumps({"Resources": {"Open": open_bucket, "Plain": queue}})
    (tmp_path / "shop-prod.json").write_text(text)
    found = {(check, resource) for check, _, resource in _run(tmp_path)}
    assert ("CKV_AWS_20", "AWS::S3::Bucket.Open") in found
    assert ("CKV_AWS_27", "AWS::SQS::Queue.Plain") in found
