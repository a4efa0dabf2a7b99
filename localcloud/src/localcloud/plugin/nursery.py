"""The parent of all function processes: a small program beside LocalStack, run as a script.

LocalStack is large and has many threads: a fork of it is slow and unsafe, and the kernel ties a
"die with your parent" to the thread that forked. This program has one thread. It ends every
function process when LocalStack closes the line, and so when LocalStack is killed; and if this
program is killed itself, the kernel ends them.

It speaks JSON: requests come on standard input (a Unix socket, because each start brings the
descriptor that the function's output goes to), and events leave on standard output.

    {"start": NAME, "argv": [...], "env": {...}, "cwd": PATH}    {"started": NAME, "pid": N}
    {"signal": NAME, "number": N}                                {"ended": NAME, "code": N,
                                                                  "peak_kb": N}
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1
HEADER = struct.Struct("!I")
LINUX = sys.platform == "linux"


class Nursery:
    """Starts, signals and reaps; knows a child by the name that the request gave it."""

    def __init__(self, requests: socket.socket, events: int) -> None:
        self._requests = requests
        self._events = events
        self._children: dict[int, str] = {}
        self._pid = os.getpid()
        self._libc = ctypes.CDLL(None) if LINUX else None

    def run(self) -> None:
        """Serve until LocalStack closes its end of the line."""
        bell, ring = os.pipe()
        for end in (bell, ring):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(ring)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            watched: list[socket.socket | int] = [self._requests, bell]
            ready, _, _ = select.select(watched, [], [])
            if bell in ready:
                os.read(bell, 4096)
                self._reap()
            if self._requests in ready and not self._serve_one():
                break
        for pid in self._children:
            _signal_group(pid, signal.SIGKILL)

    def _serve_one(self) -> bool:
        header, descriptors, _, _ = socket.recv_fds(self._requests, HEADER.size, 1)
        if len(header) < HEADER.size:
            return False
        (length,) = HEADER.unpack(header)
        body = bytearray()
        while len(body) < length:
            part = self._requests.recv(length - len(body))
            if not part:
                return False
            body += part
        request = json.loads(body)
        if "start" in request:
            self._start(request, descriptors[0])
        else:
            for pid, name in self._children.items():
                if name == request["signal"]:
                    _signal_group(pid, request["number"])
        return True

    def _start(self, request: dict[str, Any], output: int) -> None:
        name = request["start"]
        try:
            child = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=self._in_the_child,  # noqa: PLW1509 (safe: there is one thread)
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.write(output, f"{error}\n".encode())
            self._tell(ended=name, code=127, peak_kb=0)
        else:
            self._children[child.pid] = name
            child.returncode = 0  # Popen must not reap: _reap does, and reads the memory too.
            self._tell(started=name, pid=child.pid)
        finally:
            os.close(output)

    def _in_the_child(self) -> None:
        if self._libc is None:
            return
        self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:  # The parent went before the kernel was told.
            os._exit(1)
        if os.geteuid() == 0:
            # Root writes whatever the mode of a file says, unless it lacks this capability. Lost
            # from the bounding set, it does not come back with exec.
            self._libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # What the function started itself goes with it, as its sandbox would.
            _signal_group(pid, signal.SIGKILL)
            name = self._children.pop(pid)
            peak = usage.ru_maxrss if LINUX else usage.ru_maxrss // 1024
            self._tell(ended=name, code=os.waitstatus_to_exitcode(status), peak_kb=peak)

    def _tell(self, **event: Any) -> None:
        os.write(self._events, json.dumps(event).encode() + b"\n")


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


if __name__ == "__main__":
    Nursery(socket.socket(fileno=0), 1).run()
