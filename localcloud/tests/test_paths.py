"""A JSONPath is parsed once, and reads what it read before. No LocalStack runs here."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VENVS = Path(os.environ.get("ORDERFLOW_VENVS", ROOT / ".local/venvs"))

# In the cloud's own environment: it is LocalStack's modules that are changed.
_READ = """
import json, sys
from jsonpath_ng.ext import parse
from localcloud.plugin.paths import remember_paths
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.utils import json_path

remember_paths()
paths, document = json.loads(sys.argv[1])
other = {"order_id": "another"}
same = [module.parse("$.order_id") is module.parse("$.order_id")
        for module in (json_path, result_path)]
fresh = [[found.value for found in parse(path).find(document)] for path in paths]
read = [[found.value for found in json_path.parse(path).find(document)]
        for path in paths for _ in range(2)]
broken = 0
for _ in range(2):
    try:
        json_path.parse("$.[")
    except Exception:
        broken += 1
print(json.dumps({
    "same": same, "fresh": fresh, "read": read, "broken": broken,
    "another": json_path.extract_json("$.order_id", other),
    "first": json_path.extract_json("$.order_id", document),
}))
"""

PATHS = [
    "$",
    "$.order_id",
    "$.reserve.outcome",
    "$.lines",
    "$.lines[0].sku",
    "$.lines[*].sku",
    "$.no",
]
DOCUMENT = {
    "order_id": "one",
    "reserve": {"outcome": "reserved"},
    "lines": [{"sku": "CUP"}, {"sku": "POT"}],
}


def _read() -> dict[str, Any]:
    done = subprocess.run(
        [VENVS / "cloud/bin/python", "-c", _READ, json.dumps([PATHS, DOCUMENT])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_path_is_parsed_once_and_reads_each_document_anew() -> None:
    found = _read()
    assert found["same"] == [True, True]
    assert found["read"] == [values for values in found["fresh"] for _ in range(2)]
    assert (found["first"], found["another"]) == ("one", "another")
    assert found["broken"] == 2  # what is no path is refused each time
