"""Cold starts of every function as it is deployed, beside what they are measured against.

    make bench-cold [ROUNDS=3] [ONLY="orders/getOrder orders/placeOrder"]

Each function's zip is unpacked on a read-only folder, its bytecode as it is in the zip and none
written. `awslambdaric` is spawned on it, as Lambda does, and timed to its first request for work.
In the same rounds, one after the other, so that the machine's mood meets all of them:

    empty       a handler that imports nothing
    client      a handler with one boto3 client
    defaults    the same function, packaged with serverless-python-requirements' defaults

Medians, and medians of the ratios of two starts that followed each other, since a machine's speed
moves; of the clock's time and of the processor's, which is the steadier one on a busy machine.
Harmless functions are also called a hundred times.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import orders
from bench.report import BENCH, BESIDE, GOAL, OURS, ROOT, axes, draw, median, write
from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SqlOrderBook
from orders.domain import Line, Order, Product, Status
from shared.ids import uuid7
from tests.artifacts.budgets import KINDS, kind_of
from tests.artifacts.packages import (
    FOLDER,
    RUNTIME,
    SERVICES,
    Package,
    deployed,
    environment,
    functions,
    package,
)
from tests.support.postgres import database, url_of

DEFAULTS_GOAL = 0.35
"""Against the same function packaged with the plugin's defaults."""

CALLS = 100
_EVENTS = ROOT / "services/orders/tests/events"
# What may be called again and again, on a database of this run's own.
_CALLED = {"getOrder": "get_order", "listOrders": "list_orders", "listProducts": "list_products"}
Events = dict[str, bytes]

REFERENCES = {
    "empty": "def handler(event, context):\n    return {}\n",
    "client": (
        "import boto3\n\nsns = boto3.client('sns')\n\n\n"
        "def handler(event, context):\n    return {}\n"
    ),
}


@dataclass(frozen=True)
class Case:
    """One thing that is started: a handler in a folder, with its settings."""

    name: str
    folder: Path
    handler: str
    settings: dict[str, str]
    events: Sequence[bytes] = ()


@dataclass
class Times:
    """Seconds, by round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    hundredth: list[float] = field(default_factory=list)


class RuntimeApi(ThreadingHTTPServer):
    """The Lambda Runtime API for one process at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Edge)
        self.asked = threading.Event()
        self.work: SimpleQueue[bytes | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[str, bytes, float]] = SimpleQueue()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of a fault, unless it is that the process was killed, as each is in the end."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Edge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RuntimeApi

    def do_GET(self) -> None:
        self.server.asked.set()
        event = self.server.work.get()
        if event is None:  # the process is on its way out
            return
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 10_000))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:0:f:x")
        # Without these two awslambdaric's client ends in a segmentation fault.
        self.send_header("Content-Type", "application/json")
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793")
        self.send_header("Content-Length", str(len(event)))
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        now = time.perf_counter()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.answers.put((self.path, body, now))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def start(case: Case, times: Times, group: Path | None = None) -> None:
    """Time one life of the case's process, in a control group if one is given."""
    api = RuntimeApi()
    settings = {
        **case.settings,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "LAMBDA_TASK_ROOT": str(case.folder),
        "LD_LIBRARY_PATH": str(case.folder),
        # Root may write into a read-only folder, and a second start would find fresh bytecode.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    began = time.perf_counter()
    with subprocess.Popen(
        [str(RUNTIME), "-m", "awslambdaric", case.handler],
        cwd=case.folder,
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        if group:
            group.write_text(str(process.pid))
        try:
            if not _wait(api.asked, process):
                raise SystemExit(f"{case.name} does not start:\n{_stderr(process)}")
            times.wall.append(time.perf_counter() - began)
            times.cpu.append(_cpu(process.pid))
            if case.events:
                taken = [_call(api, case, event) for event in case.events]
                times.first.append(taken[0])
                times.warm.append(statistics.median(taken[1:]))
                times.hundredth.append(taken[-1])
        finally:
            process.kill()
            api.work.put(None)
            api.shutdown()
            api.server_close()


def _call(api: RuntimeApi, case: Case, event: bytes) -> float:
    began = time.perf_counter()
    api.work.put(event)
    try:
        path, body, ended = api.answers.get(timeout=60)
    except Empty:
        raise SystemExit(f"{case.name} gives no answer") from None
    if not path.endswith("/response") or json.loads(body).get("statusCode", 200) != 200:  # noqa: PLR2004
        raise SystemExit(f"{case.name} answers {body!r}")
    return ended - began


def _wait(asked: threading.Event, process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + 120
    while not asked.wait(0.5):
        if process.poll() is not None or time.monotonic() > deadline:
            return False
    return True


def _stderr(process: "subprocess.Popen[bytes]") -> str:
    process.kill()
    return process.communicate()[1].decode(errors="replace")


def _cpu(pid: int) -> float:
    """Return the seconds that all threads of a process have run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def imports(case: Case) -> list[tuple[int, str]]:
    """Return each module that the case's handler loads, and the microseconds of its own code."""
    name = case.handler.rsplit(".", 1)[0].replace("/", ".")
    done = subprocess.run(
        [str(RUNTIME), "-X", "importtime", "-c", f"import awslambdaric.bootstrap, {name}"],
        cwd=case.folder,
        env={**case.settings, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr)
    return [(int(us), module) for us, module in lines]


def dearest(taken: Sequence[tuple[int, str]], count: int = 10) -> dict[str, float]:
    """Return the modules that take longest, in milliseconds."""
    return {module: round(us / 1000, 1) for us, module in sorted(taken, reverse=True)[:count]}


def packages(taken: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the sums of each top-level package."""
    sums: dict[str, int] = defaultdict(int)
    for us, module in taken:
        sums[module.partition(".")[0]] += us
    return [(us, name) for name, us in sums.items()]


@contextmanager
def unpacked(archive: Path, name: str) -> Iterator[Path]:
    """Unpack a zip with the dates that stand in it, and take away every right to write."""
    folder = BENCH / "code" / name
    _delete(folder)
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            path = Path(source.extract(entry, folder))
            date = time.mktime((*entry.date_time, 0, 0, -1))
            os.utime(path, (date, date))
    for parent, _, files in os.walk(folder, topdown=False):
        for file in files:
            Path(parent, file).chmod(0o555)
        Path(parent).chmod(0o555)
    yield folder
    _delete(folder)


def _delete(folder: Path) -> None:
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def default_build(service: str) -> Path:
    """Package a service as serverless-python-requirements does it when it is told nothing.

    Only the versions are the same. Built once for each content, into .local/bench/.
    """
    ours = package(service)
    archive = BENCH / "defaults" / f"{ours.tree.parent.name}-{service}.zip"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            tree = Path(folder) / "tree"
            shutil.copytree(
                ours.tree,
                tree,
                symlinks=True,
                ignore=shutil.ignore_patterns(".serverless", ".unpacked"),
            )
            description = tree / "services" / service / "serverless.yml"
            text = description.read_text()
            text = re.sub(
                r"pythonRequirements: \$\{.*\}",
                f"pythonRequirements: {{pythonBin: {ROOT}/.venv/bin/python, useStaticCache: false,"
                " pipCmdExtraArgs: ['-c ../../constraints.txt']}",
                text,
            )
            description.write_text(text.replace("  - serverless-bytecode\n", ""))
            subprocess.run(
                ["npx", "--no-install", "sls", "package", "--stage", "local"],
                cwd=description.parent,
                check=True,
                capture_output=True,
            )
            archive.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(description.parent / f".serverless/{service}.zip", archive)
    return archive


def cases(packed: Package, folder: Path, database_url: str, events: Events) -> Iterator[Case]:
    """Return a case for each function of a service."""
    for name in functions(packed.name):
        function = deployed(packed, name)
        settings = environment(function)
        if "DATABASE_URL" in settings:
            settings["DATABASE_URL"] = database_url
        called = events.get(f"{packed.name}/{name}")
        yield Case(
            f"{packed.name}/{name}",
            folder,
            function["Handler"],
            settings,
            [called] * CALLS if called else [],
        )


def harmless_events(order: Order) -> Events:
    """Return the captured events, by function, asking for what is there."""
    events = {}
    for function, name in _CALLED.items():
        event = json.loads((_EVENTS / f"{name}.json").read_text())
        if event.get("pathParameters"):
            event["pathParameters"] = {"order_id": str(order.id)}
        if event.get("queryStringParameters"):
            event["queryStringParameters"] = {"customer_id": order.customer_id}
        events[f"orders/{function}"] = json.dumps(event).encode()
    return events


def references() -> Iterator[Case]:
    """Return the two handlers that the functions are measured against."""
    folder = BENCH / "references"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "PATH": "/usr/bin:/bin",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, source in REFERENCES.items():
        (folder / f"{name}.py").write_text(source)
        yield Case(name, folder, f"{name}.handler", settings)


def measure(rounds: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """Run all rounds; return what .local/bench/cold_start.json holds."""
    with ExitStack() as stack:
        engine = stack.enter_context(database(Path(orders.__file__).parent / "migrations"))
        order = an_order()
        SqlOrderBook(engine).place(order, {"order_id": str(order.id)}, None, "hash")
        SqlCatalogue(engine).upsert(Product("SKU-1", "Mug", 1250, "EUR", 1))
        events, url = harmless_events(order), url_of(engine)
        ours: list[Case] = []
        theirs: list[Case] = []
        sizes = {}
        for service in SERVICES:
            packed, by_defaults = package(service), default_build(service)
            sizes[service] = {"zip": _mb(packed.zip), "zip_of_defaults": _mb(by_defaults)}
            folder = stack.enter_context(unpacked(packed.zip, service))
            ours += cases(packed, folder, url, events)
            folder = stack.enter_context(unpacked(by_defaults, f"{service}-defaults"))
            theirs += cases(packed, folder, url, {})
        pairs = [
            (case, default)
            for case, default in zip(ours, theirs, strict=True)
            if case.name in only or not only
        ]
        if unknown := set(only) - {case.name for case, _ in pairs}:
            raise SystemExit(f"no function is called {', '.join(sorted(unknown))}")
        beside = {case.name: case for case in references()}
        times: dict[str, dict[str, Times]] = defaultdict(lambda: defaultdict(Times))
        for number in range(rounds + 1):
            if number == 1:
                times.clear()  # the first round reads the disk
            for case, default in pairs:
                start(beside["client"], times["beside"][case.name])
                start(case, times["ours"][case.name])
                # The slow side of a ratio of three: every other round tells enough.
                if number % 2 or rounds == 0:
                    start(default, times["defaults"][default.name])
            start(beside["empty"], times["beside"]["empty"])
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        return {
            "rounds": rounds,
            "mb": sizes,
            "references": {
                "empty": _medians(times["beside"].pop("empty")),
                "client": _medians(together(times["beside"].values())),
            },
            "functions": {case.name: _figures(case, times) for case, _ in pairs},
        }


def _figures(case: Case, times: dict[str, dict[str, Times]]) -> dict[str, Any]:
    ours, defaults = times["ours"][case.name], times["defaults"][case.name]
    taken = imports(case)
    return {
        "kind": kind_of(case.name),
        "goal": KINDS[kind_of(case.name)]["cold_start_goal"],
        **_medians(ours),
        "defaults": _medians(defaults),
        "to_client": _ratios(ours, times["beside"][case.name]),
        "to_defaults": _ratios(ours, defaults),
        "dearest": dearest(taken),
        "dearest_packages": dearest(packages(taken)),
    }


def _ratios(ours: Times, others: Times) -> dict[str, float]:
    """Return the medians of the ratios, round by round; the others may have every other round."""
    found = {}
    for key in ("wall", "cpu"):
        own, other = getattr(ours, key), getattr(others, key)
        every = 1 if len(own) == len(other) else 2
        pairs = zip(own[::every], other, strict=True)
        found[key] = median(mine / theirs for mine, theirs in pairs)
    return found


def together(all_times: Iterable[Times]) -> Times:
    """Return the starts of all of them."""
    found = Times()
    for times in all_times:
        found.wall += times.wall
        found.cpu += times.cpu
    return found


def _medians(times: Times) -> dict[str, float]:
    """Return the medians, in milliseconds."""
    found = {key: value for key, value in vars(times).items() if value}
    return {key: median(value, 4) * 1000 for key, value in found.items()}


def an_order() -> Order:
    """Return an order of three lines."""
    lines = tuple(Line(f"SKU-{n}", n, 100) for n in range(1, 4))
    total = sum(line.quantity * line.unit_price for line in lines)
    now = datetime.now(UTC)
    return Order(
        uuid7(), "ada", "ada@example.org", "EUR", lines, total, Status.PLACED, 1, placed_at=now
    )


def _mb(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 2)


def report(results: dict[str, Any]) -> None:
    """Print what matters."""
    for service, mb in results["mb"].items():
        print(f"{service:14} zip {mb['zip']:6.2f} MB, by defaults {mb['zip_of_defaults']:6.2f} MB")
    for name, found in results["references"].items():
        print(f"{name:32} {found['wall']:7.0f} ms, processor {found['cpu']:7.0f} ms")
    print(f"\n{'':32} {'clock':>10} {'processor':>12}   to one client (goal)   to defaults")
    for name, found in results["functions"].items():
        calls = ""
        if "first" in found:
            calls = f"   first call {found['first']:.0f} ms, 100th {found['hundredth']:.1f} ms"
        print(
            f"{name:32} {found['wall']:7.0f} ms {found['cpu']:9.0f} ms   "
            f"{found['to_client']['wall']:.2f}, {found['to_client']['cpu']:.2f} ({found['goal']})"
            f"   {found['to_defaults']['wall']:.2f}, {found['to_defaults']['cpu']:.2f}{calls}"
        )
    print("\nThe ten dearest imports of each, modules and whole packages, in ms of their own:")
    for name, found in results["functions"].items():
        for kind in ("dearest", "dearest_packages"):
            print(f"  {name}: " + ", ".join(f"{what} {ms}" for what, ms in found[kind].items()))


def plot(results: dict[str, Any]) -> Path:
    """Draw each function's processor time against the handler with one boto3 client."""
    found = results["functions"]
    client = results["references"]["client"]["cpu"]
    names = sorted(found, key=lambda name: (found[name]["kind"], name), reverse=True)
    figure, chart = axes(9, 0.34 * len(names) + 1.4)
    at = range(len(names))
    defaults = [found[name]["defaults"]["cpu"] / client for name in names]
    chart.barh(at, defaults, color=BESIDE, label="packaged with the plugin's defaults")
    own = [found[name]["to_client"]["cpu"] for name in names]
    chart.barh(at, own, height=0.55, color=OURS, label="as it is deployed")
    goals = [found[name]["goal"] for name in names]
    chart.plot(goals, at, "|", color=GOAL, markersize=13, markeredgewidth=2, label="goal")
    chart.axvline(1, color="#4a5568", linewidth=0.8, linestyle=":")
    chart.set_yticks(at, names, fontsize=8)
    chart.set_xlabel("cold start, processor time; 1.0 is a handler with one boto3 client")
    chart.legend(loc="lower right", fontsize=8, frameon=False)
    return draw("cold_start", figure)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("functions", nargs="*", help="these alone, as service/function")
    wanted = parser.parse_args()
    results = measure(wanted.rounds, wanted.functions)
    print(write("cold_start", results))
    report(results)
    print(plot(results))


if __name__ == "__main__":
    main()
