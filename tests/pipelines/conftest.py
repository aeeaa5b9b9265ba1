import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.plant import Plant
from tests.pipelines.small_plant import Place, history


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The command line sets variables for the processes it starts; no test inherits them from another."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@dataclass(frozen=True)
class Ran:
    """A small plant after one run of everything."""

    place: Place
    first: Result


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    place = Place(tmp_path_factory.mktemp("ran"))
    place.write(history())
    before = dict(os.environ)
    first = command("run", *place.options(), "--json", str(place.result), "--as-of", "history",
                    "--release-as-demo")  # fmt: skip
    os.environ.clear()
    os.environ.update(before)
    assert first.exit_code == 0, first.output
    return Ran(place, first)


@pytest.fixture
def clone(ran: Ran, tmp_path: Path) -> Place:
    """A copy of the plant that a test may change."""
    root = tmp_path / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    return Place(root)


@pytest.fixture
def fresh(tmp_path: Path) -> Place:
    """The same plant before its first run."""
    place = Place(tmp_path / "fresh")
    place.write(history())
    return place


@pytest.fixture(scope="session")
def run() -> Callable[..., Result]:
    return command


@pytest.fixture
def plant(clone: Place) -> Plant:
    return Plant(clone.settings())
