import numpy as np
import pandas as pd
import pytest

from features.errors import ContractError
from models.evaluation.intervals import clopper_pearson
from models.evaluation.subgroups import METRICS, subgroup_table
from tests.models.evaluation.frames import trail


def made(sizes: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """Batches per site as (good, failed): failed ones end at .9, one good one in five at .8."""
    paths, failed, site = {}, set(), {}
    for name, (good, bad) in sizes.items():
        for i in range(good + bad):
            batch = f"{name}{i:03d}"
            site[batch] = name
            paths[batch] = [0.1, 0.9 if i >= good else (0.8 if i % 5 == 0 else 0.2 + i / 1000)]
            if i >= good:
                failed.add(batch)
    return called(trail(paths, failed, site_id=site, process_version="v1", scale_l=0.25))


def called(scores: pd.DataFrame) -> pd.DataFrame:
    """High above .5."""
    return scores.assign(call=np.where(scores["failure_probability"] > 0.5, "high", "low"))


def table_of(scores, **options) -> pd.DataFrame:
    return subgroup_table(scores, **options).set_index(["attribute", "group", "metric"]).sort_index()


def test_every_metric_of_every_group_with_its_counts() -> None:
    table = table_of(made({"N": (20, 5), "S": (40, 10)}))
    assert len(table) == (1 + 2 + 1 + 1) * len(METRICS)
    assert table.loc[("site_id", "N", "auroc"), ["n", "n_failed", "value"]].tolist() == [25, 5, 1.0]
    assert table.loc[("site_id", "S", "alarm_rate"), "value"] == 0.2
    assert table.loc[("site_id", "S", "recall"), ["value", "high"]].tolist() == [1.0, 1.0]
    assert table.loc[("site_id", "S", "recall"), "low"] == pytest.approx(clopper_pearson(10, 10)[0])
    assert table.loc[("all", "all", "auroc"), "n"] == 75
    assert (table["verdict"] == "supported").all()
    spans = table.dropna(subset=["low"])
    assert (spans["low"] <= spans["value"] + 1e-12).all()
    assert (spans["high"] >= spans["value"] - 1e-12).all()
    assert table.xs("ece", level="metric")["floor"].notna().all()


def test_a_group_below_the_minimum_is_not_supported_and_shows_no_figure() -> None:
    table = table_of(made({"N": (30, 5), "FEW": (14, 5), "GOOD": (30, 4)}))
    for group, count in (("FEW", [19, 5]), ("GOOD", [34, 4])):
        rows = table.loc[("site_id", group)]
        assert (rows["verdict"] == "not supported").all()
        assert rows[["value", "low", "high", "floor"]].isna().all(axis=None)
        assert rows[["n", "n_failed"]].to_numpy().tolist() == [count] * len(METRICS)
    assert (table.loc[("site_id", "N"), "verdict"] == "supported").all()
    lenient = table_of(made({"N": (30, 5), "FEW": (14, 5)}), min_batches=19)
    assert (lenient["verdict"] == "supported").all()


def test_batches_are_compared_at_the_checkpoint_asked_for() -> None:
    scores = made({"N": (20, 5)})
    table = table_of(scores, at_h=0.0)
    assert table.loc[("all", "all", "auroc"), "value"] == 0.5  # all stand at .1
    assert table.loc[("all", "all", "recall"), "value"] == 1.0  # alarms are counted over all hours


def test_groups_are_ordered_as_people_count_and_a_missing_one_is_unknown() -> None:
    scores = made({"N": (20, 5)})
    place = scores["batch_id"].str[1:].astype(int)
    scores["scale_l"] = np.where(place == 0, np.nan, np.where(place < 9, 50.0, 5.0))
    table = subgroup_table(scores, by=("scale_l",))
    assert table["group"].drop_duplicates().tolist() == ["all", "5", "50", "unknown"]
    with pytest.raises(ContractError, match="scores without line"):
        subgroup_table(scores, by=("line",))
