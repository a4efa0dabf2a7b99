"""LocalStack's end of the line to the nursery. All of it runs on the executor's event loop."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localcloud.plugin import nursery


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the signal; and the most memory it held."""

    code: int
    peak_kb: int


@dataclass
class Child:
    """A function process: `started` gives its pid, `ended` how it went."""

    name: str
    started: asyncio.Future[int] = field(default_factory=asyncio.Future)
    ended: asyncio.Future[Ended] = field(default_factory=asyncio.Future)


class Spawner:
    """Starts the nursery when first needed, and again should it have died."""

    def __init__(self) -> None:
        self._line: socket.socket | None = None
        self._children: dict[str, Child] = {}
        self._names = map(str, itertools.count())
        self._listener: asyncio.Task[None] | None = None

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: int
    ) -> Child:
        """Start a process whose output goes to the descriptor `output`, which is closed here."""
        if self._line is None:
            await self._open()
        child = Child(next(self._names))
        self._children[child.name] = child
        request = {"start": child.name, "argv": list(argv), "env": dict(env), "cwd": str(cwd)}
        self._send(request, output)
        os.close(output)
        return child

    def signal(self, child: Child, number: int) -> None:
        """Signal a process and all that it started. Nothing happens if it has ended."""
        if not child.ended.done():
            self._send({"signal": child.name, "number": int(number)})

    async def _open(self) -> None:
        ours, theirs = socket.socketpair()
        program = subprocess.Popen(  # noqa: ASYNC220 (milliseconds, once)
            # -I -S: nothing but the standard library, so it starts within milliseconds.
            [sys.executable, "-I", "-S", nursery.__file__],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        self._line = ours
        events = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(events), program.stdout
        )
        self._listener = asyncio.create_task(self._listen(events, program))

    def _send(self, request: Mapping[str, object], *descriptors: int) -> None:
        if self._line is None:
            return
        body = json.dumps(request).encode()
        header = nursery.HEADER.pack(len(body))
        # When the nursery is gone, _listen hears of it too, and tells everyone.
        with contextlib.suppress(OSError):
            socket.send_fds(self._line, [header], list(descriptors))
            self._line.sendall(body)

    async def _listen(self, events: asyncio.StreamReader, program: subprocess.Popen[bytes]) -> None:
        while line := await events.readline():
            event = json.loads(line)
            if "started" in event:
                self._children[event["started"]].started.set_result(event["pid"])
            else:
                child = self._children.pop(event["ended"])
                child.ended.set_result(Ended(event["code"], event["peak_kb"]))
        if self._line is not None:
            self._line.close()
            self._line = None
        for child in self._children.values():
            # The kernel has ended the function itself; what it had started is still there.
            if child.started.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.started.result(), signal.SIGKILL)
            child.ended.set_result(Ended(-signal.SIGKILL, 0))
        self._children.clear()
        await asyncio.to_thread(program.wait)
