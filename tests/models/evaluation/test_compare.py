from dataclasses import replace

import numpy as np
import pandas as pd

from models.cohort.splits import subject_groups
from models.evaluation.compare import compare_splits
from tests.models.plant import QUICK, Plant, make_plant


def drifting_plant() -> Plant:
    """Failures come in campaigns, and a reading names the campaign: a random split learns the campaign's name."""
    plant = make_plant()
    campaign = np.arange(120) // 10
    rng = np.random.default_rng(5)
    failed = rng.random(120) < np.where(rng.random(12) < 0.4, 0.85, 0.05)[campaign]
    name = dict(zip(plant.batches["batch_id"], rng.permutation(12)[campaign].astype(float), strict=True))
    snapshots = plant.snapshots[["batch_id", "checkpoint_h", "started_at", "as_of"]]
    snapshots = snapshots.assign(**{"campaign.before_start.value": snapshots["batch_id"].map(name)})
    return replace(plant, snapshots=snapshots, features=(), log=plant.log.assign(failed=failed))


def test_a_random_split_reads_better_than_forward_where_failures_come_in_campaigns() -> None:
    plant = drifting_plant()
    logs = {"failed": plant.log}
    table = compare_splits(plant.snapshots, plant.batches, logs, groups=subject_groups(plant.batches), plan=QUICK)
    found = table.set_index("split")["auroc"]
    assert found["random"] > found["forward"] + 0.15


def test_both_splits_are_judged_on_the_same_batches_each_once(plant) -> None:
    table = compare_splits(
        plant.snapshots, plant.batches, {"failed": plant.log}, groups=subject_groups(plant.batches), plan=QUICK
    )
    counts = table.set_index("split")[["n", "n_failed"]]
    assert counts.loc["random"].tolist() == counts.loc["forward"].tolist()
    assert counts.loc["forward", "n"] == 72  # 40 % of 120 only ever train forward in time


def test_a_question_with_too_few_failures_says_so_instead_of_a_figure(plant) -> None:
    rare = plant.log.assign(failed=plant.log["batch_id"].isin(["B003", "B090"]))
    table = compare_splits(
        plant.snapshots, plant.batches, {"rare": rare}, groups=subject_groups(plant.batches), plan=QUICK
    )
    assert table["auroc"].isna().all()
    assert table["note"].str.contains("2 of 120 batches failed|no failures").all()
    assert isinstance(table, pd.DataFrame)


def test_a_question_that_no_result_answers_yet_says_so(plant) -> None:
    logs = {"failed": plant.log, "unanswered": plant.log.iloc[:0], "censored": plant.log.assign(censored=True)}
    table = compare_splits(plant.snapshots, plant.batches, logs, groups=subject_groups(plant.batches), plan=QUICK)
    found = table.set_index(["question", "split"])
    for question in ("unanswered", "censored"):
        for split in ("random", "forward"):
            assert found.loc[(question, split), "n"] == 0
            assert found.loc[(question, split), "note"] == "no batch has an outcome and a snapshot before it"
    assert found.loc[("failed", "forward"), "n"] == 72
