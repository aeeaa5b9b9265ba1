"""The present code as these tests drive it: by its command line, and in one place by its own names."""

import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from pipelines.cli import app as command_line
from serving.main import assemble
from serving.settings import load_settings


def run(*arguments: str | Path) -> Result:
    """One command of `batchguard`; what it does not foresee is raised."""
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments], catch_exceptions=False)


def add_key(data_dir: Path, role: str = "mes") -> str:
    """A key of all sites, made by the command line."""
    told = run("keys", "add", "tests", "--role", role, "--site", "*", "--data-dir", data_dir)
    return re.findall(r"bg_\S+", told.output)[0]


def description(data_dir: Path) -> dict[str, Any]:
    """The API's description, as an endpoint over a data directory gives it out."""
    key = add_key(data_dir)
    with TestClient(assemble(load_settings(data_dir), data_dir / "bundles", data_dir / "keys")) as client:
        return client.get("/openapi.json", headers={"authorization": f"Bearer {key}"}).json()
