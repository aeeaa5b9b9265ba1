import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The command line sets variables for the processes it starts; no test inherits them from another."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
