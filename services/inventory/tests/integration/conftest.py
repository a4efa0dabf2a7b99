"""A real Postgres with the inventory's schema, and AWS's two edges as one small server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa

import inventory
from tests.support.postgres import database, url_of

MIGRATIONS = Path(inventory.__file__).parent / "migrations"

_PUBLISHED = (
    b'<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    b"<PublishBatchResult><Successful/><Failed/></PublishBatchResult></PublishBatchResponse>"
)
_GONE = b"<ErrorResponse><Error><Code>NotFound</Code></Error></ErrorResponse>"


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.Engine]:
    """Return an engine on a fresh database; tests keep apart by their own skus and orders."""
    with database(MIGRATIONS) as engine:
        yield engine


class FakeAws(ThreadingHTTPServer):
    """Answers SendTaskSuccess and PublishBatch; refuses what a test asks it to refuse."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Edge)
        self.replies: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.late_tokens: set[str] = set()
        self.topic_is_gone = False


class _Edge(BaseHTTPRequestHandler):
    server: FakeAws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "SendTaskSuccess" in self.headers.get("X-Amz-Target", ""):
            reply = json.loads(body)
            if reply["taskToken"] in self.server.late_tokens:
                self._answer(400, b'{"__type": "TaskTimedOut", "message": "too late"}')
            else:
                self.server.replies[reply["taskToken"]] = json.loads(reply["output"])
                self._answer(200, b"{}")
        elif self.server.topic_is_gone:
            self._answer(404, _GONE)
        else:
            form = parse_qs(body.decode())
            self.server.published += [
                json.loads(text) for name, (text,) in form.items() if name.endswith(".Message")
            ]
            self._answer(200, _PUBLISHED)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="session")
def aws(postgres: sa.Engine) -> Iterator[FakeAws]:
    """Start the edges and point the functions' settings at them and at Postgres."""
    with FakeAws() as server, pytest.MonkeyPatch.context() as environment:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "POWERTOOLS_SERVICE_NAME": "inventory",
            "POWERTOOLS_METRICS_NAMESPACE": "Orderflow",
            "DATABASE_URL": url_of(postgres),
            "EVENTS_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:test-orderflow-events",
        }
        for name, value in settings.items():
            environment.setenv(name, value)
        yield server
        server.shutdown()
