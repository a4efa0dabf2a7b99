"""LocalStack's view of an execution environment: the executor named `process`.

LocalStack calls from many threads and waits for the result; the work is done on one event loop.
"""

import asyncio
import functools
import logging
import os
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from localstack.aws.connect import connect_to
from localstack.services.lambda_.invocation.lambda_models import (
    FunctionVersion,
    HotReloadingCode,
    InvocationResult,
    S3Code,
)
from localstack.services.lambda_.invocation.runtime_executor import (
    LambdaRuntimeException,
    RuntimeExecutor,
)

from localcloud.plugin.code import Shelf, delete
from localcloud.plugin.environment import Call, Environment, Function
from localcloud.plugin.faults import FAULTS
from localcloud.plugin.spawner import Spawner

LOG = logging.getLogger(__name__)

# Set by LocalStack for the programs in its own images; a function on AWS does not see them.
NOT_ON_AWS = {
    "AWS_LAMBDA_FUNCTION_TIMEOUT",
    "EDGE_PORT",
    "LOCALSTACK_FUNCTION_ACCOUNT_ID",
    "LOCALSTACK_HOSTNAME",
    "LOCALSTACK_MAX_PAYLOAD_SIZE",
    "LOCALSTACK_RUNTIME_ENDPOINT",
    "LOCALSTACK_RUNTIME_ID",
}

ENVIRONMENTS: dict[str, Environment] = {}
"""Those that run, by LocalStack's id."""


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="process-executor", daemon=True).start()
    return loop


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run it where the environments live, and wait for what it returns."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@functools.cache
def _spawner() -> Spawner:
    return Spawner()


@functools.cache
def _shelf() -> Shelf:
    return Shelf(Path(tempfile.gettempdir(), "functions"))


def _runtime_python() -> Path:
    # Not resolved: behind the link is an interpreter that does not know its environment.
    return Path(
        os.environ.get("ORDERFLOW_RUNTIME_PYTHON") or ".local/venvs/runtime/bin/python"
    ).absolute()


def _folders(version: FunctionVersion) -> tuple[Path, Path | None]:
    """The function's /var/task and /opt; unpacks what is not there yet."""
    settings = version.config
    user = settings.internal_revision
    match settings.code:
        case S3Code() as archive:
            task = _shelf().take(user, archive)
        case HotReloadingCode() as folder:
            task = folder.get_unzipped_code_location()
        case _:
            raise LambdaRuntimeException("functions from container images are not supported")
    layers = [layer.code for layer in settings.layers if isinstance(layer.code, S3Code)]
    return task, _shelf().take(user, *layers) if layers else None


class ProcessExecutor(RuntimeExecutor):
    """One execution environment: made by LocalStack for a call that finds none idle."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002 (LocalStack's)
        super().__init__(id, function_version)
        self._environment: Environment | None = None
        self._scratch: Path | None = None
        self._stream = ("", "")

    def start(self, env_vars: dict[str, str]) -> None:
        """Start the process. Its init phase ends, well or not, in the first `invoke`.

        So a failed init is an answer like any other, with its log lines.
        """
        settings = self.function_version.config
        task, layers = _folders(self.function_version)
        self._scratch = Path(tempfile.mkdtemp(prefix="tmp-", dir=tempfile.gettempdir()))
        variables = self._variables(env_vars, task, layers)
        self._stream = (
            variables["AWS_LAMBDA_LOG_GROUP_NAME"],
            variables["AWS_LAMBDA_LOG_STREAM_NAME"],
        )
        function = Function(
            name=self.function_version.id.function_name,
            command=[str(_runtime_python()), "-m", "awslambdaric", settings.handler or ""],
            folder=task,
            version=self.function_version.id.qualifier,
            runtime=settings.runtime or "",
            timeout=settings.timeout,
            memory_mb=settings.memory_size,
        )
        self._environment = Environment(_spawner(), function, variables, FAULTS)
        run(self._environment.start())
        ENVIRONMENTS[self.id] = self._environment

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Run one invocation; what the function does wrong is in the result."""
        if self._environment is None:
            raise LambdaRuntimeException(f"environment {self.id} was not started")
        call = Call(
            request_id=payload["invoke-id"],
            function_arn=payload["invoked-function-arn"],
            trace_id=payload["trace-id"],
            payload=payload["payload"].encode(),
        )
        result = run(self._environment.invoke(call))
        return InvocationResult(
            request_id=call.request_id,
            payload=result.answer.payload,
            is_error=bool(result.answer.error_type),
            logs=result.logs,
        )

    def stop(self) -> None:
        """End the process, and save what it still said."""
        ENVIRONMENTS.pop(self.id, None)
        if self._environment is not None:
            run(self._environment.stop())
            self._save(self.get_logs())
        if self._scratch is not None:
            delete(self._scratch)

    def get_address(self) -> str:
        """Where LocalStack is asked for from inside the function."""
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        """The same for a process."""
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        """Not used: each environment has a Runtime API of its own."""
        return ""

    def get_logs(self) -> str:
        """What the function wrote outside of an invocation."""
        return self._environment.take_logs() if self._environment else ""

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpack the code, so that the first call need not."""
        if not _runtime_python().exists():
            raise LambdaRuntimeException(f"no interpreter for functions at {_runtime_python()}")
        _folders(function_version)

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Delete the code that no other version uses."""
        _shelf().release(function_version.config.internal_revision)

    def _variables(self, given: dict[str, Any], task: Path, layers: Path | None) -> dict[str, str]:
        """The function's whole environment, with this machine's paths where AWS has its own."""
        settings = self.function_version.config
        own = settings.environment or {}
        python = _runtime_python()
        opt = layers or Path("/opt")
        variables = {
            "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin:{opt}/bin",
            "LD_LIBRARY_PATH": f"{task}:{task}/lib:{opt}/lib",
            "LANG": "en_US.UTF-8",
            # AWS has neither. Without the first, functions share one /tmp; without the second,
            # boto3 reads the developer's own ~/.aws.
            "TMPDIR": str(self._scratch),
            "HOME": str(self._scratch),
        }
        if layers:
            variables["PYTHONPATH"] = f"{opt}/python/lib/python3.13/site-packages:{opt}/python"
        variables |= {
            name: str(value)
            for name, value in given.items()
            if name in own or name not in NOT_ON_AWS
        }
        return variables | {
            "LAMBDA_TASK_ROOT": str(task),
            "LAMBDA_RUNTIME_DIR": str(python.parent.parent),
            # The runtime reads this: on it depends whether a signal handler gets to run.
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{settings.runtime}",
            # Comes back in the User-Agent of every AWS call, and tells whose it is.
            "AWS_SDK_UA_APP_ID": self.id,
        }

    def _save(self, logs: str) -> None:
        lines = [line for line in logs.splitlines() if line]
        if not lines:
            return
        identity = self.function_version.id
        group, stream = self._stream
        client = connect_to(aws_access_key_id=identity.account, region_name=identity.region).logs
        now = int(time.time() * 1000)
        try:
            client.put_log_events(
                logGroupName=group,
                logStreamName=stream,
                logEvents=[{"timestamp": now, "message": f"{line}\n"} for line in lines],
            )
        except Exception:  # noqa: BLE001 (LocalStack may be on its way down: then nobody reads it)
            LOG.debug("last words of %s were lost: %s", identity.function_name, lines)
