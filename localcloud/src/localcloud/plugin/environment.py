"""One execution environment: the Lambda Runtime API on loopback, and the process that asks it.

Everything here runs on one event loop, so there are no locks. What the texts and error types say
is what AWS says; see "How it differs from AWS" in the README for what is not imitated.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from localcloud.plugin.faults import WAITS, Concern, Fault, Faults
from localcloud.plugin.spawner import Child, Ended, Spawner

API = "/2018-06-01/runtime"
RESPONSE_LIMIT = 6 * 1024 * 1024 + 100
INIT_SECONDS = 10
TERM_GRACE_SECONDS = 0.5


@dataclass(frozen=True)
class Function:
    """What all environments of one version of a function share."""

    name: str
    command: Sequence[str]
    folder: Path
    version: str
    runtime: str
    timeout: int
    memory_mb: int


@dataclass(frozen=True)
class Call:
    """One invocation, as the Runtime API tells it."""

    request_id: str
    function_arn: str
    trace_id: str
    payload: bytes


@dataclass(frozen=True)
class Answer:
    """What the caller gets. `error_type` is empty when the function returned."""

    payload: bytes
    error_type: str = ""


@dataclass(frozen=True)
class Result:
    """An answer with the log lines of its invocation."""

    answer: Answer
    logs: str


class RuntimeProcess:
    """One life of a function's process, from its start to its end."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.asked = asyncio.Event()  # The process has asked for work: its init phase is over.
        self.init_seconds = 0.0
        self.init_error: Answer | None = None
        self.calls = 0
        self._child: Child
        self._spawner: Spawner
        self._server: asyncio.Server
        self._work: asyncio.Queue[tuple[Call, int]] = asyncio.Queue(1)
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._pipe = -1
        self._output = bytearray()
        self._peak_kb = 0

    async def start(
        self, spawner: Spawner, function: Function, variables: Mapping[str, str]
    ) -> None:
        """Open the API and start the process; do not wait for its init phase."""
        self._spawner = spawner
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._pipe, output = os.pipe()
        os.set_blocking(self._pipe, False)
        asyncio.get_running_loop().add_reader(self._pipe, self._read_output)
        self._child = await spawner.start(
            function.command,
            env={**variables, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"},
            cwd=function.folder,
            output=output,
        )

    @property
    def ended(self) -> asyncio.Future[Ended]:
        """Done when the process has gone."""
        return self._child.ended

    async def call(self, call: Call, seconds: int) -> Answer:
        """Hand the invocation to the process. Raises TimeoutError; the process goes on then."""
        answer: asyncio.Future[Answer] = asyncio.Future()
        self._answers[call.request_id] = answer
        self._work.put_nowait((call, int((time.time() + seconds) * 1000)))
        try:
            await _first(answer, self.ended, seconds=seconds)
        finally:
            del self._answers[call.request_id]
        return answer.result() if answer.done() else exit_error(call, self.ended.result())

    async def stop(self, *, grace: float = 0) -> None:
        """End the process, with SIGTERM first if it gets time for it, and close everything."""
        if grace:
            self._spawner.signal(self._child, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.ended), grace)
        self._spawner.signal(self._child, signal.SIGKILL)
        await self.ended
        self._server.close()
        for connection in self._connections:
            connection.cancel()

    async def kill(self) -> Ended:
        """End the process at once, as a machine that fails does."""
        self._spawner.signal(self._child, signal.SIGKILL)
        return await self.ended

    @property
    def pid(self) -> int | None:
        """The process's id; None before it is there and after it has gone."""
        alive = self._child.started.done() and not self.ended.done()
        return self._child.started.result() if alive else None

    def take_output(self) -> str:
        """What the function wrote since the last time."""
        self._read_output()
        text = self._output.decode(errors="replace")
        self._output.clear()
        return text

    def peak_mb(self) -> int:
        """The most memory that the process has held so far."""
        if self.ended.done():
            self._peak_kb = max(self._peak_kb, self.ended.result().peak_kb)
        elif self._child.started.done():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{self._child.started.result()}/status").read_text()
                for line in status.splitlines():
                    if line.startswith("VmHWM:"):
                        self._peak_kb = int(line.split()[1])
        return -(-self._peak_kb // 1024)

    def _read_output(self) -> None:
        while self._pipe >= 0:
            try:
                part = os.read(self._pipe, 65536)
            except BlockingIOError:
                return
            if not part:
                asyncio.get_running_loop().remove_reader(self._pipe)
                os.close(self._pipe)
                self._pipe = -1
            self._output += part

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections.add(task)
        try:
            while True:
                await self._serve_one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        method, path, _ = request.split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, extra, content = await self._answer_request(method, path, headers, body)
        head = [
            f"HTTP/1.1 {status}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            *(f"{name}: {value}" for name, value in extra.items()),
        ]
        writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + content)
        await writer.drain()

    async def _answer_request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, Mapping[str, str], bytes]:
        error_type = headers.get("lambda-runtime-function-error-type", "Unhandled")
        match (method, path.removeprefix(API).split("/")[1:]):
            case ("GET", ["invocation", "next"]):
                if not self.asked.is_set():
                    self.init_seconds = time.perf_counter() - self.began
                    self.asked.set()
                call, deadline = await self._work.get()
                return "200 OK", _call_headers(call, deadline), call.payload
            case ("POST", ["init", "error"]):
                self.init_error = Answer(body, error_type)
            case ("POST", ["invocation", request_id, "error"]) if request_id in self._answers:
                self._settle(request_id, Answer(body, error_type))
            case ("POST", ["invocation", request_id, "response"]) if request_id in self._answers:
                if len(body) > RESPONSE_LIMIT:
                    self._settle(request_id, _too_large())
                    return "413 Request Entity Too Large", {}, _too_large().payload
                self._settle(request_id, Answer(body))
            case _:
                return "404 Not Found", {}, _error("InvalidRequestID", f"no {method} {path}")
        return "202 Accepted", {}, b'{"status":"OK"}\n'

    def _settle(self, request_id: str, answer: Answer) -> None:
        if not self._answers[request_id].done():
            self._answers[request_id].set_result(answer)


class Environment:
    """Serves one call at a time; its process is replaced when it has ended or run out of time."""

    def __init__(
        self, spawner: Spawner, function: Function, variables: Mapping[str, str], faults: Faults
    ) -> None:
        self.concern: Concern | None = None  # What may happen to the call that runs.
        self._spawner = spawner
        self._function = function
        self._variables = variables
        self._faults = faults
        self._gone = asyncio.Event()
        self._process: RuntimeProcess | None = None
        self._stopped = False
        self._logs: list[str] = []

    async def start(self) -> RuntimeProcess:
        """Start a process, if none is alive. Its init phase goes on in the background."""
        if self._process is not None:
            if not self._process.ended.done():
                return self._process
            self._logs.append(self._process.take_output())
        self._logs.append(f"INIT_START Runtime Version: {self._function.runtime}\n")
        process = RuntimeProcess()
        await process.start(self._spawner, self._function, self._variables)
        self._process = process
        if self._stopped:
            await process.stop()
        return process

    @property
    def function(self) -> str:
        """The function's name."""
        return self._function.name

    @property
    def pid(self) -> int | None:
        """The id of its process, if that is alive."""
        return self._process.pid if self._process else None

    async def kill(self) -> None:
        """End the process as if its machine had failed; the next call starts another."""
        if self._process is not None:
            await self._process.kill()

    def note(self, fault: Fault) -> None:
        """Say in the function's log what was done to it."""
        self._logs.append(f"{fault}\n")

    async def invoke(self, call: Call) -> Result:
        """Run one invocation to its end, whichever that is; never raises for the function."""
        self.concern = self._faults.call(self._function.name, call.payload)
        try:
            fault = self.concern.take("request")
            if fault is not None:
                self.note(fault)
                if fault.do in WAITS:
                    await self._sit_out(fault)
                elif fault.do == "twice":
                    first = await self._serve(call, self.concern)
                    self._logs.append(first.logs)
            return await self._serve(call, self.concern, fault)
        finally:
            self.concern = None

    async def _serve(self, call: Call, concern: Concern, fault: Fault | None = None) -> Result:
        process = self._process
        if process is None or not self._stopped:
            process = await self.start()
        cold = process.calls == 0
        process.calls += 1
        answer = await self._wait_for_init(process, call) if cold else None
        self._logs.append(process.take_output())
        self._logs.append(f"START RequestId: {call.request_id} Version: {self._function.version}\n")
        began = time.perf_counter()
        if answer is None:
            answer = await self._run(process, call, concern, fault)
        milliseconds = (time.perf_counter() - began) * 1000
        if answer.error_type in ENDS_THE_PROCESS:
            # Only a response that was too large finds it alive: it is given time to say so.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.ended), TERM_GRACE_SECONDS)
            await process.stop()
        self._logs.append(process.take_output())
        self._report(process, call, answer, milliseconds, cold=cold)
        return Result(answer, self.take_logs())

    async def stop(self) -> None:
        """End the process: SIGTERM, a moment, SIGKILL."""
        self._stopped = True
        self._gone.set()
        if self._process is not None:
            await self._process.stop(grace=TERM_GRACE_SECONDS)
            self._logs.append(self._process.take_output())

    def take_logs(self) -> str:
        """The log lines that no result has carried away yet."""
        text = "".join(line if line.endswith("\n") else f"{line}\n" for line in self._logs if line)
        self._logs.clear()
        return text

    async def _wait_for_init(self, process: RuntimeProcess, call: Call) -> Answer | None:
        """None when the function can be called, otherwise the answer of the failed init."""
        asked = asyncio.ensure_future(process.asked.wait())
        # AWS starts init anew when 10 s did not do, within the function's own timeout. Here it
        # just goes on for as long.
        limit = INIT_SECONDS + self._function.timeout
        try:
            await _first(asked, process.ended, seconds=limit)
        except TimeoutError:
            await process.stop()
            return self._timed_out(call)
        finally:
            asked.cancel()
        if process.asked.is_set() and not process.ended.done():
            return None
        process.init_seconds = time.perf_counter() - process.began
        answer = process.init_error or exit_error(call, process.ended.result())
        self._logs.append(process.take_output())
        self._logs.append(
            f"INIT_REPORT Init Duration: {process.init_seconds * 1000:.2f} ms\tPhase: init\t"
            f"Status: error\tError Type: {answer.error_type}\n"
        )
        await process.stop()
        return answer

    async def _run(
        self, process: RuntimeProcess, call: Call, concern: Concern, fault: Fault | None
    ) -> Answer:
        if fault is not None and fault.do not in (*WAITS, "twice"):
            return await self._fail(process, call, concern, fault, self._function.timeout)
        began = time.monotonic()
        try:
            answer = await process.call(call, self._function.timeout)
        except TimeoutError:
            return await self._give_up(process, call)
        answered = answer.error_type != "Runtime.ExitError"
        fault = concern.take("response") if answered else None
        if fault is None:
            return answer
        self.note(fault)
        if fault.do in WAITS:
            await self._sit_out(fault)
            return answer
        left = self._function.timeout - (time.monotonic() - began)
        return await self._fail(process, call, concern, fault, left)

    async def _fail(
        self, process: RuntimeProcess, call: Call, concern: Concern, fault: Fault, seconds: float
    ) -> Answer:
        """Give the answer of a call that a fault has kept from its function, or from its caller."""
        if fault.do == "kill":
            return exit_error(call, await process.kill())
        if fault.do == "lose" and concern.subject.message_id is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), max(seconds, 0))
            return await self._give_up(process, call)
        # A queue knows no silence: a message whose answer is lost has failed, and comes again.
        return Answer(_error("Fault", f"RequestId: {call.request_id} Error: {fault}"), "Fault")

    async def _sit_out(self, fault: Fault) -> None:
        """Wait for as long as the fault takes; no longer than the environment is wanted."""
        gone = asyncio.ensure_future(self._gone.wait())
        with fault.waiting() as released:
            go_on = asyncio.wrap_future(released)
            with contextlib.suppress(TimeoutError):
                await _first(go_on, gone, seconds=fault.seconds)
        gone.cancel()

    async def _give_up(self, process: RuntimeProcess, call: Call) -> Answer:
        await process.stop()
        self._logs.append(process.take_output())
        return self._timed_out(call)

    def _timed_out(self, call: Call) -> Answer:
        text = f"Task timed out after {self._function.timeout:.2f} seconds"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        self._logs.append(f"{now}Z {call.request_id} {text}\n")
        message = f"RequestId: {call.request_id} Error: {text}"
        return Answer(_error("Sandbox.Timedout", message), "Sandbox.Timedout")

    def _report(
        self,
        process: RuntimeProcess,
        call: Call,
        answer: Answer,
        milliseconds: float,
        *,
        cold: bool,
    ) -> None:
        if answer.error_type == "Runtime.ExitError":
            self._logs.append(
                f"{json.loads(answer.payload)['errorMessage']}\n{answer.error_type}\n"
            )
        init = process.init_seconds * 1000 if cold else 0
        fields = [
            f"REPORT RequestId: {call.request_id}",
            f"Duration: {milliseconds:.2f} ms",
            f"Billed Duration: {-(-(milliseconds + init) // 1):.0f} ms",
            f"Memory Size: {self._function.memory_mb} MB",
            f"Max Memory Used: {process.peak_mb()} MB",
        ]
        if cold:
            fields.append(f"Init Duration: {init:.2f} ms")
        if answer.error_type == "Sandbox.Timedout":
            fields.append("Status: timeout")
        elif answer.error_type in ENDS_THE_PROCESS:
            fields.append(f"Status: error\tError Type: {answer.error_type}")
        self._logs.append(f"END RequestId: {call.request_id}\n")
        self._logs.append("\t".join(fields) + "\t\n")


ENDS_THE_PROCESS = {"Runtime.ExitError", "Function.ResponseSizeTooLarge"}


def exit_error(call: Call, ended: Ended) -> Answer:
    """What AWS answers when the process ends before it has answered."""
    if ended.code == 0:
        text = "Runtime exited without providing a reason"
    elif ended.code > 0:
        text = f"Runtime exited with error: exit status {ended.code}"
    else:
        name = (signal.strsignal(-ended.code) or str(-ended.code)).lower()
        text = f"Runtime exited with error: signal: {name}"
    message = f"RequestId: {call.request_id} Error: {text}"
    return Answer(_error("Runtime.ExitError", message), "Runtime.ExitError")


def _too_large() -> Answer:
    kind = "Function.ResponseSizeTooLarge"
    text = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
    return Answer(_error(kind, text), kind)


def _error(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def _call_headers(call: Call, deadline_ms: int) -> dict[str, str]:
    return {
        "Lambda-Runtime-Aws-Request-Id": call.request_id,
        "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": call.function_arn,
        "Lambda-Runtime-Trace-Id": call.trace_id,
    }


async def _first(*futures: asyncio.Future[Any], seconds: float | None) -> None:
    """Wait for any of them, cancelling none. Raises TimeoutError."""
    done, _ = await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        raise TimeoutError
