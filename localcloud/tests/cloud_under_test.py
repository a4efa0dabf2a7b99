"""A local cloud on ports and folders of its own, and functions deployed to it from source text."""

import base64
import io
import itertools
import json
import os
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

ROOT = Path(__file__).parents[2]
VENVS = Path(os.environ.get("ORDERFLOW_VENVS") or ROOT / ".local" / "venvs").absolute()
ROLE = "arn:aws:iam::000000000000:role/any"
PATIENCE_SECONDS = 30
SHELL_SECRET = "ORDERFLOW_TEST_SHELL_SECRET"

_NUMBERS = itertools.count(1)


def unique(word: str) -> str:
    """A name that nothing else in this run has."""
    return f"{word}-{next(_NUMBERS)}"


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually[T](look: Callable[[], T], what: str) -> T:
    """The first true value of `look`. Raises AssertionError at the deadline."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError(f"within {PATIENCE_SECONDS} s there was never {what}")


def zipped(files: Mapping[str, str]) -> bytes:
    """A zip of these texts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, textwrap.dedent(text))
    return buffer.getvalue()


def in_the_cloud(program: str, argument: object = None) -> dict[str, Any]:
    """Run a program in the environment of LocalStack, whose modules it may change.

    It finds the argument as JSON in `sys.argv[1]`; the last line that it prints is the answer.
    """
    done = subprocess.run(
        [str(VENVS / "cloud" / "bin" / "python"), "-c", program, json.dumps(argument)],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Answer:
    """What an invocation gave back."""

    payload: Any
    error: str | None
    log: str


@dataclass(frozen=True)
class Function:
    """A deployed function."""

    name: str
    arn: str
    cloud: "Cloud"

    def __call__(self, event: object = None) -> Answer:
        """Invoke it and wait for its answer."""
        answer = self.cloud.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps(event), LogType="Tail"
        )
        with answer["Payload"] as body:
            return Answer(
                payload=json.load(body),
                error=answer.get("FunctionError"),
                log=base64.b64decode(answer.get("LogResult", "")).decode(),
            )

    def feed(self, source_arn: str, **settings: object) -> None:
        """Map an event source to it, and wait until the mapping works."""
        client = self.cloud.client("lambda")
        mapping = client.create_event_source_mapping(
            FunctionName=self.name, EventSourceArn=source_arn, **settings
        )["UUID"]
        eventually(
            lambda: client.get_event_source_mapping(UUID=mapping)["State"] == "Enabled",
            "an enabled mapping",
        )


@dataclass(frozen=True)
class Fault:
    """A rule that the cloud has."""

    id: str
    cloud: "Cloud"

    def seen(self, what: str) -> int:
        """Its `hits`, or how many it is `holding`."""
        _, answer = self.cloud.orderflow("GET", "/faults")
        (count,) = [fault[what] for fault in answer["faults"] if fault["id"] == self.id]
        return int(count)

    def release(self) -> None:
        """Let go what it holds."""
        assert self.cloud.orderflow("POST", f"/faults/{self.id}/release") == (200, {})

    def remove(self) -> None:
        """Let go what it holds, and forget it."""
        assert self.cloud.orderflow("DELETE", f"/faults/{self.id}") == (200, {})


class Cloud:
    """One local cloud, driven by its command."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port = free_port()
        self.postgres_port = free_port()
        self._clients: dict[str, Any] = {}

    def command(self, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """Run `localcloud` with these arguments; `settings` are more environment variables."""
        mine = {
            "ORDERFLOW_STATE": self.state,
            "ORDERFLOW_PORT": self.port,
            "ORDERFLOW_POSTGRES_PORT": self.postgres_port,
            "ORDERFLOW_RUNTIME_PYTHON": VENVS / "runtime" / "bin" / "python",
            SHELL_SECRET: "seen",
        }
        variables = {name: str(value) for name, value in (mine | settings).items()}
        return subprocess.run(
            [str(VENVS / "cloud" / "bin" / "localcloud"), *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def up(self) -> str:
        """Start it and return what the command said."""
        done = self.command("up")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def down(self) -> str:
        """Stop it and return what the command said."""
        done = self.command("down")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self, service: str) -> Any:
        """A boto3 client, made once."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=f"http://127.0.0.1:{self.port}",
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20),
            )
        return self._clients[service]

    def orderflow(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the local cloud's own API; the status and the parsed answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_orderflow{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    @contextmanager
    def fault(self, function: "Function", at: str, do: str, **more: object) -> Iterator["Fault"]:
        """A rule for this function while the block runs."""
        rule = {"function": function.name, "at": at, "do": do, **more}
        status, answer = self.orderflow("POST", "/faults", rule)
        assert status == 201, answer
        fault = Fault(answer["id"], self)
        try:
            yield fault
        finally:
            self.orderflow("DELETE", f"/faults/{fault.id}")

    def close(self) -> None:
        """Close the clients' connections."""
        for client in self._clients.values():
            client.close()

    def localstack(self) -> psutil.Process:
        """Its LocalStack."""
        return self._server("localcloud.serve")

    def postgres(self) -> psutil.Process:
        """Its Postgres."""
        return self._server("-D")

    def family(self) -> list[psutil.Process]:
        """Every process of it, function processes too."""
        servers = [self.localstack(), self.postgres()]
        return servers + [child for server in servers for child in server.children(recursive=True)]

    def deploy(
        self, source: str, *, files: Mapping[str, str] | None = None, **settings: Any
    ) -> Function:
        """Create a function whose `handler` is in this source text; `files` go beside it."""
        client = self.client("lambda")
        name = unique("function")
        created = client.create_function(
            **{
                "FunctionName": name,
                "Runtime": "python3.13",
                "Role": ROLE,
                "Handler": "main.handler",
                "Timeout": 10,
                "Code": {"ZipFile": zipped({"main.py": source, **(files or {})})},
            }
            | settings
        )
        eventually(
            lambda: client.get_function(FunctionName=name)["Configuration"]["State"] == "Active",
            f"an active {name}",
        )
        return Function(name, created["FunctionArn"], self)

    def _server(self, flag: str) -> psutil.Process:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            for one, other in itertools.pairwise(command):
                if one == flag and other.startswith(str(self.state)):
                    return process
        raise AssertionError(f"no process of {self.state} has {flag}")
