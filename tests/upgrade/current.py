"""The present code as these tests drive it: by its command line, and here alone by its own names."""

import contextlib
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from models.registry import Registry
from pipelines.bundle_export import bundles_of, export
from pipelines.cli import app as command_line
from pipelines.plant import Plant
from pipelines.score_table import read_scores
from pipelines.settings import Settings
from serving.commands import RecordsAdmin
from serving.main import assemble
from serving.model_releases import KEYS
from serving.settings import load_settings
from tests.serving.releases import release as released
from tests.upgrade.facts import STORES


def run(*arguments: str | Path) -> Result:
    """One command of `batchguard`; what it does not foresee is raised."""
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments], catch_exceptions=False)


def add_key(data_dir: Path, role: str = "mes") -> str:
    """A key of all sites, made by the command line."""
    told = run("keys", "add", "tests", "--role", role, "--site", "*", "--data-dir", data_dir)
    return re.findall(r"bg_\S+", told.output)[0]


@contextlib.contextmanager
def endpoint(data_dir: Path, key: str, process_id: str) -> Generator[TestClient]:
    """A client of the whole endpoint over a data directory, in this process, as somebody with a key."""
    app = assemble(load_settings(data_dir), data_dir / "bundles" / process_id, data_dir / "keys", process_id)
    with TestClient(app, headers={"authorization": f"Bearer {key}"}, raise_server_exceptions=False) as client:
        yield client


def release(process: Path, data_dir: Path, version: str) -> None:
    """Release a version of the registry, as two persons of the tests."""
    plant = Plant(Settings(process, Path(), data_dir))
    model = Registry(data_dir).by_version(plant.process.id, version)
    bundles = bundles_of(plant.settings, plant.process.id).root
    with RecordsAdmin(data_dir) as admin:
        released(admin.records, bundles, data_dir / KEYS, plant.process.id, version, lambda n: export(plant, model, n))
        admin.note()


def description(data_dir: Path) -> dict[str, Any]:
    """The API's description, as an endpoint over a data directory gives it out."""
    with endpoint(data_dir, add_key(data_dir), "none") as client:
        return client.get("/openapi.json").json()


def stored(process: Path, data_dir: Path) -> dict[str, dict[str, Any]]:
    """Rows and columns of every table of the Parquet stores, read by the present code."""
    plant = Plant(Settings(process, Path(), data_dir))
    stores = dict(zip(STORES, (plant.history, plant.features, plant.scores), strict=True))
    read = {f"{name}/{table}": store.read(table) for name, store in stores.items() for table in store.tables()}
    return {name: {"rows": len(table), "columns": table.column_names} for name, table in read.items()}


def published(process: Path, data_dir: Path) -> list[dict[str, Any]]:
    """All published scores, those of former versions too, in the present form."""
    return [score.to_json() for score in read_scores(Plant(Settings(process, Path(), data_dir)).scores)]
