"""What the end-to-end tests stand on: a cloud that runs, and at the very end its audit.

make up deploy
.venv/bin/python -m pytest -n 4 --dist worksteal tests/e2e
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from tests.chaos.background import running
from tests.chaos.cells import Cell
from tests.chaos.graph import saga
from tests.chaos.ground import Ground
from tests.support.audit import silent
from tests.support.cloud import Cloud
from tests.support.shop import Customer, Shop

MATRIX = "test_fault_matrix.py"
_AUDIT = pytest.StashKey[str]()
_MADE_UP = pytest.StashKey[list[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say so once and stop, if there is no cloud."""
    fault = Cloud.from_environment().fault()
    if fault and not _in_worker(session) and not session.config.option.collectonly:
        pytest.exit(fault, returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the test that waits for minutes, so that the others run beside it.

    The fault matrix begins by itself (see fault_matrix); who waits for it comes last.
    """
    order = {"test_dead_letters.py": 0, MATRIX: 2}
    items.sort(key=lambda item: order.get(item.path.name, 1))


@pytest.fixture(scope="session")
def cloud() -> Cloud:
    found = Cloud.from_environment()
    fault = found.fault()
    if fault:
        pytest.fail(fault, pytrace=False)
    return found


@pytest.fixture(scope="session")
def shop(cloud: Cloud) -> Iterator[Shop]:
    client = Shop(cloud)
    yield client
    client.close()


@pytest.fixture(scope="session")
def made_up(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return what registers an order or a sku that only a message of a test's speaks of.

    What came of it is taken out of the books in the end: the audit would find it.
    """
    subjects = request.config.stash.setdefault(_MADE_UP, [])

    def register(subject: str) -> str:
        subjects.append(subject)
        return subject

    return register


@pytest.fixture
def customer() -> Customer:
    return Customer()


@pytest.fixture(scope="session")
def ground(cloud: Cloud) -> Iterator[Ground]:
    with Ground(cloud, saga()) as found:
        yield found


@pytest.fixture(scope="session", autouse=True)
def fault_matrix(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Run the chosen cells beside all other tests; the folder is where their results appear.

    Whichever process makes the folder runs them, so that they run once and share their waits.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if _in_worker(request.session) else base) / "fault-matrix"
    cells: list[Cell] = [
        cast("Cell", item.callspec.params["cell"])
        for item in request.session.items
        if item.path.name == MATRIX and isinstance(item, pytest.Function)
    ]
    try:
        folder.mkdir()
    except FileExistsError:
        cells = []
    with ExitStack() as stack:
        if cells:
            ground = stack.enter_context(Ground(Cloud.from_environment(), saga()))
            stack.enter_context(running(cells, ground, folder))
        yield folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ask the audit once all tests have ended, in whichever process they ran.

    It is no test, because a test cannot know that it is the last one.
    """
    made_up = session.config.stash.setdefault(_MADE_UP, [])
    if _in_worker(session):
        cast("Any", session.config).workeroutput["made_up"] = made_up
        return
    if session.config.option.collectonly or not session.testscollected:
        return
    try:
        # Tests leave orders behind that nobody waits for; their sagas end on their own.
        silent(Cloud.from_environment(), made_up=made_up)
    except AssertionError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.stash[_AUDIT] = str(error)
    else:
        session.config.stash[_AUDIT] = "nothing lost, nothing twice, nothing half undone"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what the tests of another process have made up."""
    made_up: list[str] = node.config.stash.setdefault(_MADE_UP, [])
    made_up += getattr(node, "workeroutput", {}).get("made_up", [])  # none if it crashed


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if _AUDIT in config.stash:
        terminalreporter.section("audit")
        terminalreporter.write_line(config.stash[_AUDIT])


def _in_worker(session: pytest.Session) -> bool:
    return hasattr(session.config, "workerinput")
