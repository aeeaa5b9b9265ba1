from dataclasses import fields

import pandas as pd
import pytest

from models.evaluation.evaluate import SIMULATED, Evaluation, ahead_of, common_checkpoint, evaluate
from tests.models.evaluation.frames import trail
from tests.models.plant import make_process


@pytest.fixture(scope="module")
def judged(plant, trained) -> Evaluation:
    return evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log)


def test_figures_reconcile_with_the_sealed_batches(plant, trained, judged) -> None:
    failed = plant.log.set_index("batch_id").loc[list(trained.seal.batch_ids), "failed"]
    assert judged.overall["n_batches"] == judged.counts["test_batches"] == 30
    assert judged.overall["n_failed"] == judged.counts["test_failed"] == failed.sum()
    assert judged.checkpoints["checkpoint_h"].tolist() == [0, 12, 24]
    assert judged.checkpoints["auroc"].iloc[0] < judged.checkpoints["auroc"].iloc[2]
    assert judged.overall["auroc"] == judged.checkpoints["auroc"].iloc[2]
    assert judged.overall["auroc_low"] <= judged.overall["auroc"] <= judged.overall["auroc_high"]
    assert set(judged.alarms["n_failed"]) == {failed.sum()}
    assert judged.note == ""


def test_an_overall_figure_that_only_knows_when_batches_were_stopped_is_found_out(plant, trained, judged) -> None:
    stopped = plant.log["label_available_at"] - pd.to_timedelta(plant.log["failed"] * 60.0, unit="h")
    early = plant.log.assign(label_available_at=stopped.astype(plant.log["label_available_at"].dtype))
    found = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, early)
    assert found.overall["auroc_of_timing"] == 1.0
    assert judged.overall["auroc_of_timing"] == 0.5  # all have the same last checkpoint: every pair is a tie


def test_one_simulated_batch_is_enough_to_say_so(plant, trained) -> None:
    batches = plant.batches.assign(origin=["simulated" if i == 40 else "real" for i in range(len(plant.batches))])
    assert evaluate(plant.process, trained, plant.snapshots, plant.features, batches, plant.log).note == SIMULATED


def test_it_comes_back_from_its_files_exactly(rich_evaluation, judged, tmp_path) -> None:
    for number, stored in enumerate((rich_evaluation, judged)):
        stored.save(tmp_path / str(number))
        loaded = Evaluation.load(tmp_path / str(number))
        for field in fields(Evaluation):
            was, came = getattr(stored, field.name), getattr(loaded, field.name)
            if isinstance(was, pd.DataFrame):
                pd.testing.assert_frame_equal(came, was, check_exact=True, check_column_type=False)
            else:
                assert came == was


def test_what_cannot_be_said_is_said_to_be_missing_with_the_reason(judged) -> None:
    empty = {f.name for f in fields(Evaluation) if isinstance(v := getattr(judged, f.name), pd.DataFrame) and v.empty}
    assert empty - {"splits"} == set(judged.absent)
    assert "no [cost]" in judged.absent["costs"]
    assert judged.absent["subgroups"] == "All test batches are of one site, process version and scale."


def test_costs_attributes_sites_and_modes_are_evaluated_where_there_are_any(rich_evaluation) -> None:
    assert not {"costs", "attributes", "subgroups", "modes"} & set(rich_evaluation.absent)
    assert set(rich_evaluation.attributes["attribute"]) == {"purity"}
    assert set(rich_evaluation.subgroups["attribute"]) == {"all", "site_id"}  # one version and scale make no subgroups
    by_mode = rich_evaluation.modes.drop_duplicates("mode").set_index("mode")["verdict"].to_dict()
    assert by_mode == {"hard": "answered", "rare": "not enough cases"}
    assert rich_evaluation.alarms["useful_lead_h"].unique().tolist() == [6]


@pytest.mark.parametrize("outcome", [True, False])
def test_a_test_of_one_class_has_every_figure_that_one_class_allows(plant, trained, outcome) -> None:
    sealed = plant.log["batch_id"].isin(trained.seal.batch_ids)
    log = plant.log.assign(failed=plant.log["failed"].mask(sealed, outcome))
    found = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, log)
    assert found.counts["test_failed"] == (30 if outcome else 0)
    assert found.checkpoints["auroc"].isna().all()
    assert ("shares" in found.absent) == outcome
    assert len(found.calls_by_checkpoint) == len(found.support) == 3


def test_subgroups_are_compared_where_almost_all_batches_still_run() -> None:
    scores = trail({f"B{i}": [0.1] * (3 if i else 2) for i in range(20)}, {"B0"})
    assert common_checkpoint(scores, 0.95) == 24
    assert common_checkpoint(scores, 0.96) == 12
    assert common_checkpoint(scores.drop(scores.index[::2]), 0.99) is None


def test_an_early_warning_is_48_hours_or_a_quarter_of_a_short_process() -> None:
    assert ahead_of(make_process()) == 6
    longer = make_process().model_dump()
    longer["process"] |= {"planned_duration_h": 240}
    assert ahead_of(make_process().model_validate(longer)) == 48
