import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from benchmarks.serving.postgresql import execute, start_postgresql
from models.train import Trained, train
from serving.records.store import Records
from tests.models.plant import QUICK, Plant, make_plant
from tests.serving.small_plant import SmallPlant, make_small_plant

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def plant() -> Plant:
    return make_plant()


@pytest.fixture(scope="session")
def trained(plant: Plant) -> Trained:
    return train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, plan=QUICK)


@pytest.fixture(scope="session")
def small_plant() -> SmallPlant:
    return make_small_plant()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real server, with a database `shape` that new ones are copied from."""
    server = start_postgresql(tmp_path_factory.mktemp("postgresql"))
    for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "CREATE DATABASE shape"):
        server.execute(statement)  # no test pulls the plug, and each database would cost a second
    shape = Records(server.url.set(database="shape").render_as_string(hide_password=False))
    shape.prepare()
    shape.close()
    yield server.text
    server.close()


@pytest.fixture(scope="session")
def sqlite_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "records.db"
    shape = Records(f"sqlite:///{path}")
    shape.prepare()
    with shape.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shape.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of its own, prepared, of each kind."""
    if request.param == "sqlite":
        return sqlite_url(request.getfixturevalue("sqlite_shape"), tmp_path)
    server = make_url(request.getfixturevalue("postgresql"))
    name = f"t{next(_NUMBERS)}"
    execute(server, f"CREATE DATABASE {name} TEMPLATE shape")
    return server.set(database=name).render_as_string(hide_password=False)


def sqlite_url(shape: Path, folder: Path) -> str:
    (folder / "records.db").write_bytes(shape.read_bytes())
    return f"sqlite:///{folder / 'records.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server = make_url(request.getfixturevalue("postgresql"))
    name = f"e{next(_NUMBERS)}"
    execute(server, f"CREATE DATABASE {name}")
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def records(records_url: str) -> Iterator[Records]:
    found = Records(records_url)
    yield found
    found.close()
