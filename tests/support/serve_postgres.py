# Its imports live in the cloud's environment, which the type checker does not see.
# mypy: ignore-errors
"""Runs one throw-away Postgres server, and ends with whoever holds its standard input.

    .local/venvs/cloud/bin/python tests/support/serve_postgres.py FOLDER PORT

Prints "ready" once it answers, and again after each line "restart" that it reads. A killed test run
closes the pipe too, so nothing stays behind.
"""

import shutil
import signal
import sys
from pathlib import Path

import psutil

from localcloud import postgres
from localcloud.settings import Settings


def main() -> None:
    """Serve until standard input closes."""
    # Ctrl-C reaches the whole terminal; the test run decides when the server ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    settings = Settings(
        state=folder, port=port, postgres_port=port, runtime_python=Path(sys.executable)
    )
    server = postgres.launch(settings, log=settings.log("postgres"))
    try:
        postgres.wait(settings, server)
        print("ready", flush=True)
        for _ in sys.stdin:  # "restart"
            postgres.halt(psutil.Process(server.pid))
            server.wait()
            server = postgres.launch(settings, log=settings.log("postgres"))
            postgres.wait(settings, server)
            print("ready", flush=True)
    finally:
        postgres.halt(psutil.Process(server.pid))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
