"""A real local cloud with nothing deployed on it; each test makes queues of a stage of its own."""

from collections.abc import Iterator

import pytest

from tests.support.local_cloud import local_cloud


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_cloud(tmp_path_factory.mktemp("cloud")) as url:
        yield url
