"""Start, find and stop servers without pid files: a running server is known by its command line.

A pid file can outlive its process, and the number may by then belong to something else. Both
servers carry the state folder in their arguments, so the process table itself is the record.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil


class CloudError(Exception):
    """What the user must know and can act on; shown without a traceback."""


def find(*arguments: str) -> psutil.Process | None:
    """The process whose arguments include these, one after the other; None if there is none."""
    wanted = list(arguments)
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        if any(command[at : at + len(wanted)] == wanted for at in range(len(command))):
            return process
    return None


def start(
    command: Sequence[str], *, log: Path | None, environment: Mapping[str, str], cwd: Path
) -> subprocess.Popen[bytes]:
    """Start a server that outlives us, in a session of its own so that Ctrl-C passes it by.

    It writes to its log, or if that is None to our own output.
    """
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") if log else contextlib.nullcontext() as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )


def stop(process: psutil.Process, *, ask_with: signal.Signals, grace: float) -> None:
    """Ask, wait, kill; then the same for whatever the process had started."""
    try:
        family = [process, *process.children(recursive=True)]
        process.send_signal(ask_with)
    except psutil.NoSuchProcess:
        return
    psutil.wait_procs([process], timeout=grace)
    # Children get a moment of their own: a server that ends well has already sent them home.
    _, left = psutil.wait_procs(family, timeout=0 if process.is_running() else 2)
    for straggler in left:
        try:
            straggler.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)


def pass_on(server: subprocess.Popen[bytes], *, ask_with: signal.Signals) -> None:
    """From now on, whoever asks us to end asks the server."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.send_signal(ask_with))


def attend(server: subprocess.Popen[bytes]) -> int:
    """Stay until the server ends; its exit code. Reaps orphans too, as process 1 must."""
    while True:
        pid, status = os.wait()
        if pid == server.pid:
            server.returncode = os.waitstatus_to_exitcode(status)
            return server.returncode


def claim_port(port: int, *, setting: str) -> None:
    """Raise CloudError, with the name of the holder, when the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CloudError(
                f"port {port} is taken by {_holder(port)}; end that process, or choose another "
                f"port with {setting}"
            ) from error


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            at_port = connection.laddr and connection.laddr.port == port
            if listening and at_port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"process {process.pid} ({' '.join(process.cmdline())[:120]})"
    except psutil.Error:
        pass
    return "a process that this user may not see"


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], *, name: str, log: Path
) -> None:
    """Poll until the server answers. Raises CloudError with the end of its log if it does not."""
    deadline = time.monotonic() + 60
    while not ready():
        if process.poll() is not None:
            raise CloudError(f"{name} ended with exit code {process.returncode}\n{tail(log)}")
        if time.monotonic() > deadline:
            raise CloudError(f"{name} did not answer within 60 s\n{tail(log)}")
        time.sleep(0.05)


def tail(log: Path, lines: int = 25) -> str:
    """The end of a log file, indented, under its name."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        text = ["(nothing was written)"]
    return "\n".join([f"the end of {os.path.relpath(log)}:", *(f"  {line}" for line in text)])
