"""Runs one function once in a process of its own, as an execution environment that can be killed.

Called as `python environment.py FUNCTION`; the event comes on standard input, the answer leaves on
standard output. The settings are the caller's.
"""

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]


@dataclass(frozen=True)
class Context:
    """What Lambda tells of an invocation."""

    function_name: str = "orders-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:orders-test"
    aws_request_id: str = "1b3c5d7e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """Plenty."""
        return 10_000


def start(name: str, event: Any) -> "subprocess.Popen[bytes]":
    """Start a process that calls the function; it may be killed at any moment."""
    process = subprocess.Popen(
        [sys.executable, __file__, name],
        cwd=ROOT / "services" / "orders",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stdin
    process.stdin.write(json.dumps(event).encode())
    process.stdin.close()
    return process


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "services" / "orders"), str(ROOT / "shared" / "src")]
    module = importlib.import_module(f"orders.handlers.{sys.argv[1]}")
    sys.stdout.write(json.dumps(module.handler(json.load(sys.stdin), Context())))
