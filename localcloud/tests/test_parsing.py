"""Paths and the like are parsed once, and mean what they meant. No LocalStack runs here."""

from cloud_under_test import in_the_cloud

_READ = """
import json, sys
from jsonpath_ng.ext import parse
from localcloud.plugin.parsing import remember_paths
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


MACHINE = {
    "StartAt": "Again",
    "States": {
        "Again": {
            "Type": "Pass",
            "Parameters": {"id.$": "$.order_id"},
            "ResultPath": "$.again",
            "Next": "Which?",
        },
        "Which?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.again.id", "StringEquals": "one", "Next": "End"}],
            "Default": "End",
        },
        "End": {"Type": "Succeed"},
    },
}
_START = """
import json, sys
from types import SimpleNamespace
from localcloud.plugin.parsing import remember_machines
from localstack.services.stepfunctions.asl.parse.asl_parser import AmazonStateLanguageParser
from localstack.services.stepfunctions.backend.execution_worker import ExecutionWorker

remember_machines()
parses, original = [], AmazonStateLanguageParser.parse
AmazonStateLanguageParser.parse = staticmethod(lambda text: parses.append(text) or original(text))


def start(definition):
    details = SimpleNamespace(definition=definition)
    worker = SimpleNamespace(_evaluation_details=SimpleNamespace(state_machine_details=details))
    return ExecutionWorker._get_evaluation_entrypoint(worker)


one, changed = sys.argv[1], sys.argv[1].replace("Which?", "What?")
first, second, third = start(one), start(one), start(changed)
print(json.dumps({
    "parses": len(parses),
    "shared": first is second or first.states is second.states,
    "states": [list(each.states.states) for each in (first, second, third)],
}))
"""


_HEADERS = """
import json, sys
from localcloud.plugin.parsing import remember_content_types
from twisted.web import http

headers = [each.encode() for each in json.loads(sys.argv[1])]
fresh = [http._parseContentType(each).decode() for each in headers]
remember_content_types()
read = [http._parseContentType(each).decode() for each in headers for _ in range(2)]
print(json.dumps({"fresh": fresh, "read": read, "hits": http._parseContentType.cache_info().hits}))
"""
CONTENT_TYPES = ["application/json", "text/plain; charset=utf-8", "nonsense", ""]


def test_a_path_is_parsed_once_and_reads_each_document_anew() -> None:
    found = in_the_cloud(_READ, [PATHS, DOCUMENT])
    assert found["same"] == [True, True]
    assert found["read"] == [values for values in found["fresh"] for _ in range(2)]
    assert (found["first"], found["another"]) == ("one", "another")
    assert found["broken"] == 2  # what is no path is refused each time


def test_a_state_machine_is_parsed_once_and_no_two_executions_share_it() -> None:
    found = in_the_cloud(_START, MACHINE)
    assert found["parses"] == 2  # the one, and the one that was changed
    assert not found["shared"]
    assert found["states"] == [
        ["Again", "Which?", "End"],
        ["Again", "Which?", "End"],
        ["Again", "What?", "End"],
    ]


def test_a_content_type_is_parsed_once() -> None:
    found = in_the_cloud(_HEADERS, CONTENT_TYPES)
    assert found["fresh"][:2] == ["application/json", "text/plain"]
    assert found["read"] == [read for read in found["fresh"] for _ in range(2)]
    assert found["hits"] == len(CONTENT_TYPES)
