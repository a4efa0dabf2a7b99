"""A real local cloud for integration tests, with nothing deployed on it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = Path(__file__).parents[2] / ".local/venvs/cloud/bin/localcloud"


@contextmanager
def local_cloud(state: Path) -> Iterator[str]:
    """Yield the URL of ORDERFLOW_TEST_AWS, or of a cloud in `state` that ends with the block.

    Functions run in the tests' own interpreter: nothing of a zip is wanted here.
    """
    if given := os.environ.get("ORDERFLOW_TEST_AWS"):
        yield given
        return
    port = _free_port()
    environment = {
        **os.environ,
        "ORDERFLOW_STATE": str(state),
        "ORDERFLOW_PORT": str(port),
        "ORDERFLOW_POSTGRES_PORT": str(_free_port()),
        "ORDERFLOW_RUNTIME_PYTHON": sys.executable,
    }
    subprocess.run([COMMAND, "up"], env=environment, check=True)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run([COMMAND, "down"], env=environment, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
