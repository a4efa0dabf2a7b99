"""Where an API is on AWS is what its stack says, and who cannot be asked is named."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DESCRIBED = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStacksResult><Stacks><member><StackName>s</StackName><StackStatus>CREATE_COMPLETE</StackStatus>
<CreationTime>2026-11-25T00:00:00Z</CreationTime><Outputs>%s</Outputs></member></Stacks></DescribeStacksResult>
</DescribeStacksResponse>"""
OUTPUT = "<member><OutputKey>%s</OutputKey><OutputValue>%s</OutputValue></member>"


@contextmanager
def cloudformation(outputs: str, asked: list[str]) -> Iterator[str]:
    """Serve one stack's description; note what is asked."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answer = (DESCRIBED % outputs).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def url(service: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    aws = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return subprocess.run(
        [sys.executable, "tools/api_url.py", service, "dev"],
        cwd=ROOT,
        env=os.environ | aws,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("service", ["orders", "notifications"])
def test_the_url_is_the_one_that_the_stack_tells(service: str) -> None:
    asked: list[str] = []
    outputs = OUTPUT % ("Other", "x") + OUTPUT % ("ServiceEndpoint", "https://a.example/dev")
    with cloudformation(outputs, asked) as endpoint:
        done = url(service, endpoint)
    assert (done.stdout, done.returncode) == ("https://a.example/dev\n", 0)
    assert f"StackName={service}-dev" in asked[0]


def test_a_stack_without_an_api_is_named() -> None:
    with cloudformation(OUTPUT % ("Other", "x"), []) as endpoint:
        done = url("orders", endpoint)
    assert (done.stdout, done.returncode) == ("", 1)
    assert "orders-dev: no API" in done.stderr


def test_a_stack_that_nobody_answers_for_is_named() -> None:
    done = url("orders", "http://127.0.0.1:9")  # nobody listens there
    assert (done.stdout, done.returncode) == ("", 1)
    assert "orders-dev: Could not connect" in done.stderr
