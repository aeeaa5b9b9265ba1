"""Packages that are compared with, each in an environment of its own with pinned versions; files go to and fro."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from features.errors import BatchguardError
from pipelines.plant import Plant

HERE = Path(__file__).parent
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def python_of(plant: Plant, name: str) -> Path:
    """The interpreter of an environment, made under the plant's data directory on first use.

    Args:
        plant: Its data directory holds `temporary/`.
        name: Of the requirements file here, `<name>.txt`.

    Raises:
        BatchguardError: It cannot be made; says what the installer said.
    """
    requirements = HERE / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = _temporary(plant) / f"{name}-{digest}"
    python = folder / "bin/python"
    if (folder / "ready").exists():
        return python
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv") or "uv"
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], name)
    _run([uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(requirements)], name)
    (folder / "ready").touch()
    return python


@contextmanager
def workspace(plant: Plant) -> Generator[Path]:
    """A folder for the files that go to and fro, removed afterwards."""
    with TemporaryDirectory(dir=_temporary(plant)) as folder:
        yield Path(folder)


def run_script(python: Path, name: str, arguments: list[list[str]]) -> None:
    """Run `<name>_worker.py` once for each list of arguments, side by side, and wait.

    Raises:
        BatchguardError: One of them failed; says its last line.
    """
    script = str(HERE / f"{name}_worker.py")
    environment = os.environ | _ONE_THREAD
    started = [
        subprocess.Popen([str(python), script, *given], stderr=subprocess.PIPE, text=True, env=environment)
        for given in arguments
    ]
    said = [worker.communicate()[1] for worker in started]
    for worker, error in zip(started, said, strict=True):
        _refuse(worker.returncode, error, name)


def _temporary(plant: Plant) -> Path:
    folder = plant.settings.data_dir.absolute() / "temporary"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BatchguardError(f"the environment of {name}: {error}", remedy="Run 'make install' first.") from None
    _refuse(done.returncode, done.stderr, name)


def _refuse(code: int, error: str, name: str) -> None:
    if code:
        lines = [line for line in error.strip().splitlines() if line.strip()] or [f"exit code {code}"]
        raise BatchguardError(f"the environment of {name} failed: {lines[-1].strip()}")
