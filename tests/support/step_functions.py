"""Step Functions' edge, as far as operations calls it: executions that tests make and end."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:test-orderflow-place-order"


class FakeStates(ThreadingHTTPServer):
    """Takes starts, lists and describes; nothing in it ever runs by itself."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Edge)
        self.executions: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.silent: set[str] = set()  # names of executions about which it answers nothing useful

    @property
    def client(self) -> Any:
        """Return a boto3 client of this server, with no patience."""
        return boto3.client(
            "stepfunctions",
            endpoint_url=f"http://127.0.0.1:{self.server_port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def runs(self, name: str, document: Any = None) -> None:
        """Let an execution run."""
        self.executions[name] = {
            "name": name,
            "status": "RUNNING",
            "input": json.dumps(document or {}, sort_keys=True),
            "startDate": time.time(),
        }

    def ended(self, name: str, status: str = "ABORTED", *, ago: float = 3600) -> None:
        """Let an execution have ended so many seconds ago."""
        self.runs(name)
        self.executions[name] |= {"status": status, "stopDate": time.time() - ago}

    def document(self, name: str) -> Any:
        """Return what an execution was started with."""
        return json.loads(self.executions[name]["input"])


class _Edge(BaseHTTPRequestHandler):
    server: FakeStates

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].split(".")[1]
        self.server.calls.append(operation)
        name = call.get("name") or call.get("executionArn", "").rsplit(":", 1)[-1]
        if name in self.server.silent:
            self._answer(500, {"__type": "InternalServerError"})
        else:
            getattr(self, operation)(name, call)

    def StartExecution(self, name: str, call: dict[str, Any]) -> None:  # noqa: N802 - AWS's name
        known = self.server.executions.get(name)
        if known and (known["status"] != "RUNNING" or known["input"] != call["input"]):
            self._answer(400, {"__type": "ExecutionAlreadyExists"})
            return
        if not known:
            self.server.runs(name, json.loads(call["input"]))
        self._answer(200, {"executionArn": _arn(name), "startDate": time.time()})

    def DescribeExecution(self, name: str, _: dict[str, Any]) -> None:  # noqa: N802 - AWS's name
        known = self.server.executions.get(name)
        if known:
            self._answer(200, known | {"executionArn": _arn(name), "stateMachineArn": MACHINE})
        else:
            self._answer(400, {"__type": "ExecutionDoesNotExist"})

    def ListExecutions(self, _: str, call: dict[str, Any]) -> None:  # noqa: N802 - AWS's name
        wanted = [
            {
                "executionArn": _arn(each["name"]),
                "stateMachineArn": MACHINE,
                **{name: each[name] for name in ("name", "status", "startDate")},
            }
            for each in self.server.executions.values()
            if each["status"] == call["statusFilter"]
        ]
        # Two pages, as AWS gives of many.
        half = len(wanted) // 2
        more = "nextToken" in call
        page: dict[str, Any] = {"executions": wanted[half:] if more else wanted[:half]}
        self._answer(200, page if more else page | {"nextToken": "2"})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def _arn(name: str) -> str:
    return MACHINE.replace(":stateMachine:", ":execution:") + f":{name}"


@contextmanager
def step_functions() -> Iterator[FakeStates]:
    """Serve until the block ends."""
    with FakeStates() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
