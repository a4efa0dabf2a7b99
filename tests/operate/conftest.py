"""A real local cloud with nothing deployed on it; each test makes queues of a stage of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLOUD = Path(__file__).parents[2] / ".local/venvs/cloud/bin/localcloud"


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of ORDERFLOW_TEST_AWS, or of a local cloud that ends with the tests."""
    if given := os.environ.get("ORDERFLOW_TEST_AWS"):
        yield given
        return
    port = _free_port()
    environment = {
        **os.environ,
        "ORDERFLOW_STATE": str(tmp_path_factory.mktemp("cloud")),
        "ORDERFLOW_PORT": str(port),
        "ORDERFLOW_POSTGRES_PORT": str(_free_port()),
        "ORDERFLOW_RUNTIME_PYTHON": sys.executable,
    }
    subprocess.run([CLOUD, "up"], env=environment, check=True)
    yield f"http://127.0.0.1:{port}"
    subprocess.run([CLOUD, "down"], env=environment, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
