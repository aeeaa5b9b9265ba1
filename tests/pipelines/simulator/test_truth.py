import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.simulator.plan import plan_plant
from pipelines.simulator.settings import SimulationSettings
from pipelines.simulator.truth import first_observable_h, truth_table


@pytest.fixture(scope="module")
def truth(plant) -> pd.DataFrame:
    return truth_table(plant).to_pandas()


@pytest.fixture(scope="module")
def delays() -> dict[str, list[float]]:
    """Hours from onset to the first sign, NaN where none comes, of plants where every mode is frequent."""
    found: dict[str, list[float]] = {}
    rates = {"M4": 15.0, "M5": 15.0, "M6": 5.0, "M7": 5.0, "M8": 4.0, "M9": 10.0, "M10": 5.0, "M11": 3.0}
    for b in plan_plant(SimulationSettings(n_batches=350, seed=4, mode_rates=rates)).batches:
        for f in b.faults:
            if len(b.faults) == 1:
                seen = first_observable_h(b, f)
                found.setdefault(f.mode, []).append(np.nan if seen is None else seen - f.onset_h)
    return found


def test_every_fault_and_every_unexplained_failure_has_a_row(plant, truth) -> None:
    assert not truth.duplicated(["batch_id", "mode"]).any()
    failed = {b.batch_id for b in plant.batches if b.outcome.failed}
    assert failed <= set(truth["batch_id"])
    assert len(truth[truth["mode"] != "none"]) == sum(len(b.faults) for b in plant.batches)
    assert set(truth.loc[truth["in_progress"], "batch_id"]) <= {b.batch_id for b in plant.batches[-12:]}


def test_a_failure_counts_as_caused_only_where_the_batch_passes_without_the_fault(truth) -> None:
    caused = truth[truth["caused_failure"]]
    assert caused["outcome"].isin(["rejected", "terminated"]).all()
    assert not caused["counterfactual_outcome"].isin(["rejected", "terminated"]).any()
    assert not caused["mode"].isin(["M12", "none"]).any()
    assert len(caused) > 0.7 * truth.loc[truth["outcome"].isin(["rejected", "terminated"]), "batch_id"].nunique()


@pytest.mark.parametrize(
    ("mode", "low", "high"), [("M6", 0, 6), ("M7", 0, 6), ("M8", 0, 23), ("M10", 0, 4), ("M4", 5, 60)]
)
def test_online_modes_show_at_about_the_time_of_the_domain(delays, mode, low, high) -> None:
    assert len(delays[mode]) >= 5
    assert low <= np.nanmedian(delays[mode]) <= high


def test_wash_shock_and_most_slow_contaminations_do_not_show_before_harvest(delays) -> None:
    assert np.isnan(delays["M11"]).all()
    assert np.isnan(delays["M5"]).mean() > 0.6


def test_part_of_the_failures_cannot_be_seen_before_harvest(truth) -> None:
    caused = truth[truth["caused_failure"]]
    assert 0.08 < caused["first_observable_at"].isna().mean() < 0.40


def test_nothing_outside_the_simulator_reads_the_truth_file() -> None:
    root = Path(__file__).parents[3]
    for room in ("features", "models", "serving"):
        for path in (root / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = (
                    [a.name for a in node.names]
                    if isinstance(node, ast.Import)
                    else [getattr(node, "module", None) or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                assert not any(m.startswith("pipelines") for m in modules), path
                assert not (isinstance(node, ast.Constant) and node.value == "truth.parquet"), path


def test_the_written_truth_lies_beside_the_history(report) -> None:
    written = pq.read_table(report.out / "truth.parquet")
    assert len(written) == report.rows["truth"]
    wanted = {"batch_id", "mode", "onset_at", "ended_at", "severity", "causal_chain", "affected_parameters",
              "first_observable_at", "counterfactual_outcome"}  # fmt: skip
    assert wanted <= set(written.column_names)
