"""The way of the data: features <- models <- serving, pipelines above all of them; heavy libraries at their doors."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ("features", "models", "serving", "pipelines")
FORBIDDEN = {
    "features": {"models", "serving", "pipelines", "dagster", "mlflow"},
    "models": {"serving", "pipelines", "dagster"},
    "serving": {"pipelines", "dagster", "mlflow"},
    "pipelines": set(),
}
PICKLES = {"pickle", "joblib", "cloudpickle", "dill"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", HOUSE)
def test_imports_run_one_way(package) -> None:
    wrong = {str(p.relative_to(ROOT)): imported(p) & FORBIDDEN[package] for p in modules(package)}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_only_the_registry_and_what_it_logs_import_mlflow() -> None:
    found = {str(p.relative_to(ROOT)) for package in HOUSE for p in modules(package) if "mlflow" in imported(p)}
    assert found == {
        "models/registry.py",
        "models/tracking.py",
        "models/logged_model.py",
        "models/pyfunc_model.py",
        "models/mirror.py",
        "models/mlflow_store.py",
    }


def test_nothing_that_scores_needs_lightgbm() -> None:
    found = {str(p.relative_to(ROOT)) for p in modules("serving") if "lightgbm" in imported(p)}
    assert found == {"serving/bundle/canary.py"}
    code = "import serving.main, serving.engine, sys; print({'lightgbm', 'sklearn'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "set()"


def test_a_benchmark_needs_no_test() -> None:
    assert [p for p in modules("benchmarks") if "tests" in imported(p)] == []


def test_nothing_pickles() -> None:
    packages = (*HOUSE, "benchmarks", "examples")
    assert [p for package in packages for p in modules(package) if imported(p) & PICKLES] == []


def test_the_guard_sees_a_wrong_import(tmp_path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from pipelines.plant import Plant\n")
    assert imported(path) & FORBIDDEN["models"] == {"pipelines"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pipelines.cli import app; "
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0, r.output; "
        "print(sorted({'mlflow', 'dagster', 'shap', 'pandas', 'lightgbm', 'matplotlib', 'pandera', 'numba', 'scipy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "[]"
