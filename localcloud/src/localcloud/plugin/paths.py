"""JSONPaths that are parsed once.

LocalStack parses a path each time that a state reads it, and its parser builds its tables anew each
time: some 20 ms of CPU for `$.order_id`, and a saga of ten states reads dozens. It was the largest
part of what an order cost on this cloud. A parsed path holds no data and never changes.
"""

import functools
from typing import Any

from localstack.runtime.hooks import on_infra_start
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.utils import json_path

MOST_PATHS = 4096


@on_infra_start()  # type: ignore[untyped-decorator]
def parsed_once() -> None:
    """Called by LocalStack once, before it starts its services."""
    remember_paths()


def remember_paths() -> None:
    """Let each module that reads paths remember those that it has parsed."""
    modules: tuple[Any, ...] = (json_path, result_path)
    for module in modules:
        module.parse = functools.lru_cache(MOST_PATHS)(module.parse)
