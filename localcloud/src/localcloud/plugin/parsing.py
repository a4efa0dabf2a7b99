"""State machines, JSONPaths and content types that are parsed once.

LocalStack parses a path each time that a state reads it, and its parser builds its tables anew each
time: some 20 ms of CPU for `$.order_id`, and a saga of ten states reads dozens. And it parses the
whole state machine for each execution: some 100 ms. Both were more than all else that an order cost
on this cloud. A parsed path never changes; of a parsed state machine each execution gets a copy.

And Twisted reads the Content-Type of each request, of which there are three or four, with Python's
parser for mails: a sixth of all that LocalStack computed (py-spy, ten orders in flight).
"""

import copy
import functools
from typing import Any

from localstack.runtime.hooks import on_infra_start
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.parse.asl_parser import AmazonStateLanguageParser
from localstack.services.stepfunctions.asl.utils import json_path
from localstack.services.stepfunctions.backend.execution_worker import ExecutionWorker
from twisted.web import http

MOST_PATHS = 4096
MOST_MACHINES = 64
MOST_CONTENT_TYPES = 256


@on_infra_start()  # type: ignore[untyped-decorator]
def parsed_once() -> None:
    """Called by LocalStack once, before it starts its services."""
    remember_paths()
    remember_machines()
    remember_content_types()


def remember_paths() -> None:
    """Let each module that reads paths remember those that it has parsed."""
    modules: tuple[Any, ...] = (json_path, result_path)
    for module in modules:
        module.parse = functools.lru_cache(MOST_PATHS)(module.parse)


def remember_machines() -> None:
    """Give each execution a copy of its state machine as it was parsed for the first."""

    @functools.lru_cache(MOST_MACHINES)
    def parsed(definition: str) -> Any:
        return AmazonStateLanguageParser.parse(definition)[0]

    def machine_of(worker: Any) -> Any:
        details = worker._evaluation_details.state_machine_details  # noqa: SLF001
        return copy.deepcopy(parsed(details.definition))

    setattr(ExecutionWorker, "_get_evaluation_entrypoint", machine_of)  # noqa: B010 (mypy allows no other)


def remember_content_types() -> None:
    """Let Twisted remember those that it has parsed."""
    remembered = functools.lru_cache(MOST_CONTENT_TYPES)(http._parseContentType)  # noqa: SLF001
    setattr(http, "_parseContentType", remembered)  # noqa: B010 (mypy allows no other)
