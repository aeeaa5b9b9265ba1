import sys
from pathlib import Path

import pytest

from benchmarks.baselines import environments
from features.errors import BatchguardError


@pytest.fixture
def workers(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(environments, "HERE", tmp_path)
    (tmp_path / "copy_worker.py").write_text("import sys, pathlib\npathlib.Path(sys.argv[2]).write_text(sys.argv[1])\n")
    (tmp_path / "broken_worker.py").write_text("import no_such_package\n")
    return tmp_path


def test_workers_run_side_by_side_and_are_waited_for(workers) -> None:
    environments.run_script(Path(sys.executable), "copy", [["a", str(workers / "1")], ["b", str(workers / "2")]])
    assert [(workers / name).read_text() for name in "12"] == ["a", "b"]


@pytest.mark.usefixtures("workers")
def test_a_package_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(BatchguardError, match="broken failed: ModuleNotFoundError: No module named 'no_such_package'"):
        environments.run_script(Path(sys.executable), "broken", [[]])


@pytest.mark.parametrize("name", ["tsfresh", "process_improve"])
def test_every_package_is_pinned_with_its_hash(name) -> None:
    lines = (Path(environments.__file__).parent / f"{name}.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert packages
    assert all("==" in line and line.endswith("\\") for line in packages)
