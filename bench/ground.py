"""A Postgres of a bench's own, as durable as a real one, and pgbench beside it."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.support.postgres import Server

ROOT = Path(__file__).parents[1]
SERVICES = ROOT / "services"
ORDERS = SERVICES / "orders/orders/migrations"
INVENTORY = SERVICES / "inventory/inventory/migrations"


@contextmanager
def durable() -> Iterator[Server]:
    """Run a server that waits for the disk at each commit; `database` makes its databases there."""
    server = Server()
    os.environ["ORDERFLOW_TEST_POSTGRES"] = server.address
    try:
        yield server
    finally:
        del os.environ["ORDERFLOW_TEST_POSTGRES"]
        server.stop()


def pgbench(engine: sa.Engine, script: Path, *, clients: int, seconds: float) -> float:
    """Run the script as fast as C can, statements prepared; return transactions a second."""
    program = next(
        (ROOT / ".local/venvs/cloud").glob("lib/*/site-packages/*/pginstall/bin/pgbench")
    )
    done = subprocess.run(
        [
            str(program),
            *("--no-vacuum", "--protocol=prepared", f"--file={script}"),
            *(f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}"),
            *(f"--time={max(1, round(seconds))}", "--username=postgres"),
            *("--host=127.0.0.1", f"--port={engine.url.port}", str(engine.url.database)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    figure = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or not figure:
        raise RuntimeError(f"pgbench: {done.stderr or done.stdout}")
    return float(figure[1])
