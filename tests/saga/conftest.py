"""What the code says that the saga's file must agree with."""

import pytest

from tests.saga.code import CODE
from tests.saga.lint import Code


@pytest.fixture
def code() -> Code:
    return CODE
