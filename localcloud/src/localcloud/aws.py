"""LocalStack as a server of ours: its settings, start and stop."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from localcloud.processes import CloudError, claim_port, find, start, stop, wait_until
from localcloud.settings import REGION, Settings

ASK_WITH = signal.SIGTERM


def running(settings: Settings) -> psutil.Process | None:
    """The LocalStack of this state folder, if it runs."""
    return find("localcloud.serve", str(settings.state))


def launch(settings: Settings, *, log: Path | None) -> subprocess.Popen[bytes]:
    """Start LocalStack on an empty folder. Raises CloudError."""
    claim_port(settings.port, setting="ORDERFLOW_PORT")
    if not settings.runtime_python.exists():
        raise CloudError(
            f"the functions' interpreter {settings.runtime_python} is missing; install it, or "
            "point ORDERFLOW_RUNTIME_PYTHON at it"
        )
    _remove(settings)
    (settings.localstack / "tmp").mkdir(parents=True)
    if log:
        log.unlink(missing_ok=True)
    return start(
        [sys.executable, "-m", "localcloud.serve", str(settings.state)],
        log=log,
        environment=environment(settings),
        cwd=settings.localstack,
    )


def wait(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    """Return when the API answers. Raises CloudError."""
    log = settings.log("localstack")
    wait_until(lambda: answers(settings), server, name="LocalStack", log=log)


def answers(settings: Settings) -> bool:
    """Whether the API does."""
    try:
        with urllib.request.urlopen(f"{settings.endpoint}/_localstack/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def halt(process: psutil.Process) -> None:
    """Stop LocalStack and with it every function process."""
    stop(process, ask_with=ASK_WITH, grace=15)


def environment(settings: Settings) -> dict[str, str]:
    """LocalStack's whole environment: what it must not read from the user's is left out."""
    home = settings.localstack
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "AWS_DEFAULT_REGION": REGION,
        "ORDERFLOW_RUNTIME_PYTHON": str(settings.runtime_python),
        # Everything that it writes stays in the state folder, so two clouds never meet.
        "FILESYSTEM_ROOT": str(home / "root"),
        "LOCALSTACK_VOLUME_DIR": str(home / "volume"),
        "TMPDIR": str(home / "tmp"),
        "XDG_CACHE_HOME": str(settings.state / "cache"),
        # In a container it would otherwise look for the folders of LocalStack's own image.
        "OVERRIDE_IN_DOCKER": "0",
        # An address, not a name: names below localhost.localstack.cloud need DNS.
        "GATEWAY_LISTEN": f"{settings.listen}:{settings.port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{settings.port}",
        "SQS_ENDPOINT_STRATEGY": "path",
        "DNS_ADDRESS": "0",
        # Nothing is fetched and nothing is reported.
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "LAMBDA_RUNTIME_EXECUTOR": "process",
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "moto",
        # A resource type that it does not know must fail the deployment, not vanish from it.
        "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "0",
        # The pollers wait inside the poll (see plugin/polling.py), not between two polls.
        "LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC": "0.01",
        "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC": "0.01",
        "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_ERROR_SEC": "2",
        # AWS waits a minute before it repeats an asynchronous call that failed. So do we, unless
        # told otherwise: tests of that kind set it lower.
        "LAMBDA_RETRY_BASE_DELAY": os.environ.get("LAMBDA_RETRY_BASE_DELAY", "60"),
    }


def _remove(settings: Settings) -> None:
    """Empty LocalStack's folder, whose unpacked functions are read-only."""
    if not settings.localstack.exists():
        return
    for folder, _, _ in os.walk(settings.localstack):
        Path(folder).chmod(0o700)
    shutil.rmtree(settings.localstack)
