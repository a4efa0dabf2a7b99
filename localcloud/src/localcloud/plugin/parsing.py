"""State machines and JSONPaths that are parsed once.

LocalStack parses a path each time that a state reads it, and its parser builds its tables anew each
time: some 20 ms of CPU for `$.order_id`, and a saga of ten states reads dozens. And it parses the
whole state machine for each execution: some 100 ms. Both were more than all else that an order cost
on this cloud. A parsed path never changes; of a parsed state machine each execution gets a copy.
"""

import copy
import functools
from typing import Any

from localstack.runtime.hooks import on_infra_start
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.parse.asl_parser import AmazonStateLanguageParser
from localstack.services.stepfunctions.asl.utils import json_path
from localstack.services.stepfunctions.backend.execution_worker import ExecutionWorker

MOST_PATHS = 4096
MOST_MACHINES = 64


@on_infra_start()  # type: ignore[untyped-decorator]
def parsed_once() -> None:
    """Called by LocalStack once, before it starts its services."""
    remember_paths()
    remember_machines()


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
