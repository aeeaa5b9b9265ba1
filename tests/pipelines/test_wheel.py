"""The wheel does outside of the checkout what the checkout does."""

import os
import re
import site
import subprocess
import sys
import venv
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.pipelines.small_plant import Place, history

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Scripts of an environment with the wheel and, beside it, the dependencies that are installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--offline", "--quiet")
    subprocess.run([UV, "build", "--wheel", "--no-build-isolation", *offline, "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    scripts = folder / "env" / "bin"
    subprocess.run([UV, "pip", "install", "--no-deps", *offline, "--python", scripts / "python", wheel], check=True)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))  # without the checkout's own .pth
    return scripts


def call(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("BATCHGUARD_", "PYTHON", "DAGSTER"))
    }
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_simulates_and_runs_in_an_empty_folder(installed, tmp_path) -> None:
    place = Place(tmp_path)
    plant = (
        "--batches",
        "12",
        "--in-progress",
        "2",
        "--sites",
        "1",
        "--sensor-interval-min",
        "60",
        "--out",
        "simulated",
    )
    simulated = call(installed / "batchguard", "simulate", *plant, folder=tmp_path)
    assert simulated.returncode == 0, simulated.stderr
    assert (tmp_path / "simulated" / "history" / "batches.parquet").is_file()
    place.write(history())  # of a process that is quick to learn
    ran = call(installed / "batchguard", "run", *place.options(), folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "batches in progress as of" in ran.stdout
    report = place.data_dir / "reports" / "small" / "report.html"
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "telemetry:\n  enabled: false" in (place.data_dir / "dagster" / "dagster.yaml").read_text()


def test_a_process_of_the_package_is_named_by_its_id(installed, tmp_path) -> None:
    code = (
        "import pipelines.settings as s; from features.process import load_process;"
        "from pipelines.sources.policy import PlantDefinition as P;"
        "print(s.__file__); print(load_process(s.process_file('cart'), P).id)"
    )
    found = call(installed / "python", "-P", "-c", code, folder=tmp_path)
    path, name = found.stdout.splitlines()
    assert Path(path).is_relative_to(installed.parent)
    assert name == "cart"
    missing = call(installed / "batchguard", "verify", "--process", "kart", folder=tmp_path)
    assert (missing.returncode, len(missing.stderr.splitlines())) == (1, 1)
    assert "kart: no such file" in missing.stderr


def test_the_packages_carry_their_types(installed) -> None:
    (packages,) = (installed.parent / "lib").glob("python*/site-packages")
    assert {path.parent.name for path in packages.glob("*/py.typed")} >= {"features", "models", "serving", "pipelines"}


def test_nothing_under_the_gpl_or_lgpl_comes_unasked() -> None:
    seen, todo = set(), {"batchguard"}
    while todo:
        name = todo.pop()
        seen.add(name)
        wanted = [Requirement(line) for line in metadata.requires(name) or ()]
        needed = {r.name.lower() for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})}
        todo |= {name for name in needed - seen if any(metadata.distributions(name=name))}
    assert len(seen) > 60
    assert "psycopg" not in seen
    stated = {name: licence(metadata.metadata(name).json) for name in seen}
    assert [name for name, text in stated.items() if re.search(r"GPL|GNU (Lesser|General|Library)", text)] == []


def licence(of: Mapping[str, str | list[str]]) -> str:
    """Expression, first line of the text and classifiers: whole texts name the licences of bundled run-time libraries."""
    text = str(of.get("license", "")).strip().split("\n")[0]
    return f"{of.get('license_expression')} {text} {[c for c in of.get('classifier', []) if c.startswith('License')]}"
