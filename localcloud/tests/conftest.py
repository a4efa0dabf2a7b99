"""One cloud for all tests that do it no harm; those that kill one bring their own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cloud_under_test import Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running local cloud, shared by the tests."""
    yield from _running(tmp_path_factory.mktemp("cloud"))


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A running local cloud that the test may break."""
    yield from _running(tmp_path / "cloud")


def _running(state: Path) -> Iterator[Cloud]:
    cloud = Cloud(state)
    try:
        cloud.up()
        yield cloud
    finally:
        cloud.close()
        cloud.down()
