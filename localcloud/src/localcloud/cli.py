"""The command `localcloud`: up, down, status, env and logs; in containers, run and probe."""

import argparse
import contextlib
import fcntl
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from localcloud import aws, logs, postgres
from localcloud.processes import CloudError, attend, pass_on
from localcloud.settings import REGION, SettingError, Settings

NOT_RUNNING = 3
PARTS = {"LocalStack": aws, "Postgres": postgres}  # Slowest first: one starts while it loads.


def main() -> None:
    """Run one command; its result is the exit code."""
    arguments = _parser().parse_args()
    try:
        sys.exit(_run(arguments, Settings.from_environment()))
    except (CloudError, SettingError) as error:
        sys.exit(f"localcloud: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="localcloud", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start Postgres and LocalStack, and wait for both")
    commands.add_parser("down", help="stop both, and every function process")
    commands.add_parser("status", help="say what runs; exit code 3 unless both do")
    commands.add_parser("env", help="print the shell's export lines for this cloud")
    for command, what in (
        ("run", "run one of the two in the foreground, until it is asked to stop"),
        ("probe", "exit code 0 if it answers"),
    ):
        commands.add_parser(command, help=what).add_argument("part", choices=PARTS, type=_part)
    follow = commands.add_parser("logs", help="follow the logs of a service's functions")
    follow.add_argument("service")
    follow.add_argument("--stage", default="local")
    follow.add_argument("--since", default="10m", help="how far back: 90s, 10m, 2h")
    follow.add_argument("--no-follow", action="store_true", help="stop at the last line")
    return parser


def _part(text: str) -> str:
    return {name.lower(): name for name in PARTS}.get(text.lower(), text)


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    match arguments.command:
        case "up":
            with _alone(settings):
                up(settings)
        case "down":
            with _alone(settings):
                down(settings)
        case "status":
            return status(settings)
        case "run":
            return run(settings, arguments.part)
        case "probe":
            return 0 if PARTS[arguments.part].answers(settings) else NOT_RUNNING
        case "env":
            print("\n".join(exports(settings)))
        case "logs":
            if not aws.running(settings):
                raise CloudError("LocalStack is not running")
            logs.show(
                settings,
                arguments.service,
                stage=arguments.stage,
                since=arguments.since,
                follow=not arguments.no_follow,
            )
    return 0


def up(settings: Settings) -> None:
    """Start what does not run. Raises CloudError, having stopped what it started."""
    began = time.monotonic()
    started = []
    try:
        for name, part in PARTS.items():
            if part.running(settings):
                print(f"{name} runs already")
            else:
                print(f"{name} starts", flush=True)
                server = part.launch(settings, log=settings.log(name.lower()))
                started.append((name, part, server))
        for name, part, server in reversed(started):
            part.wait(settings, server)
            print(f"{name} answers after {time.monotonic() - began:.1f} s", flush=True)
    except BaseException:
        for _, part, server in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.halt(psutil.Process(server.pid))
        raise


def down(settings: Settings) -> None:
    """Stop what runs."""
    for name, part in PARTS.items():
        process = part.running(settings)
        if process:
            part.halt(process)
            print(f"{name} stopped")
        else:
            print(f"{name} was not running")


def run(settings: Settings, name: str) -> int:
    """Be one of the two, as a container is; its exit code. Raises CloudError."""
    part = PARTS[name]
    settings.state.mkdir(parents=True, exist_ok=True)
    server = part.launch(settings, log=None)
    pass_on(server, ask_with=part.ASK_WITH)  # Before it answers: loading can be stopped too.
    part.wait(settings, server)
    print(f"{name} answers", flush=True)
    return attend(server)


def status(settings: Settings) -> int:
    """Print a line for each server; 0 when both run."""
    missing = 0
    places = (
        ("LocalStack", aws, settings.endpoint),
        ("Postgres", postgres, f"127.0.0.1:{settings.postgres_port}"),
    )
    for name, part, place in places:
        process = part.running(settings)
        if process:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.create_time()))
            print(f"{name:<11} runs at {place} since {since} (process {process.pid})")
        else:
            print(f"{name:<11} does not run")
            missing += 1
    return NOT_RUNNING if missing else 0


def exports(settings: Settings) -> list[str]:
    """Shell lines that point the AWS tools, and ours, at this cloud."""
    values = {
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PAGER": "",
        "ORDERFLOW_POSTGRES": f"127.0.0.1:{settings.postgres_port}",
        "ORDERFLOW_PORT": str(settings.port),
        "ORDERFLOW_POSTGRES_PORT": str(settings.postgres_port),
        "ORDERFLOW_STATE": str(settings.state),
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    tools = Path(sys.executable).parent
    if (tools / "awslocal").exists():
        # At the end of PATH: this folder has a `python` too, which must not become the shell's.
        lines.append(f'export PATH="$PATH":{shlex.quote(str(tools))}')
    return lines


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two `up` at once must not start two servers: the second waits, and finds them running."""
    settings.state.mkdir(parents=True, exist_ok=True)
    with (settings.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
