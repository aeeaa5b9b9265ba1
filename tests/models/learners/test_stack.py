from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from features.dictionary import Feature
from models.cohort.encode import fit_encoder
from models.cohort.folds import Fold, most_folds
from models.cohort.splits import known_before, seal_test, subject_groups
from models.cohort.table import TrainingTable, before_the_label, training_table
from models.learners.evidence import LEAST_MARGIN, MISS_LOG_ODDS
from models.learners.stack import Forward, Layers, fit_layers, fit_modes, forward
from models.learners.trees import Bins
from tests.models.plant import QUICK, Plant


@dataclass(frozen=True)
class Ready:
    """A training part, as `models.train.train` prepares it."""

    plant: Plant
    table: TrainingTable
    entries: tuple[Feature, ...]
    failed: pd.Series
    folds: tuple[Fold, ...]
    cut: pd.Timestamp

    def forward(self, *, log: pd.DataFrame | None = None, observations: pd.DataFrame | None = None) -> Forward:
        log = self.plant.log if log is None else log
        observations = self.plant.release.observations if observations is None else observations
        past = log[log["label_available_at"] < self.cut]
        return forward(
            self.plant.process, self.table, self.entries, past, self.folds, observations, QUICK,
            n_failed=int(self.failed.sum()),
        )  # fmt: skip

    def layers(self, observations: pd.DataFrame | None) -> Layers:
        every = np.arange(len(self.table.rows))
        return fit_layers(
            self.plant.process, self.table, self.entries, every, every[:0], self.failed, observations, self.cut
        )


@pytest.fixture(scope="module")
def ready(foreseen_plant) -> Ready:
    plant = foreseen_plant
    groups = subject_groups(plant.batches)
    seal = seal_test(plant.batches, plant.log, process_id="soup")
    failed = known_before(plant.batches, plant.log, seal.cut, away_from=seal.batch_ids, groups=groups)
    rows = before_the_label(plant.snapshots, plant.log)
    rows = rows[rows["batch_id"].isin(failed.index)]
    folds = most_folds(plant.batches, plant.log, failed.index, groups=groups, at_most=2)
    table = training_table(rows, fit_encoder(rows))
    known = {feature.name: feature for feature in plant.features}
    return Ready(plant, table, tuple(known[n] for n in table.encoder.columns), failed, folds, seal.cut)


@pytest.fixture(scope="module")
def folded(ready) -> Forward:
    return ready.forward()


def block_inputs(made: Forward, number: int) -> tuple[np.ndarray, np.ndarray]:
    block = made.blocks[number]
    return block.bins.table.X, block.train_failed


def test_a_fold_learns_from_no_result_that_came_at_its_cut_or_later(ready, folded) -> None:
    """Corrections of training batches' results, and results of the batches it predicts: none of them moves it."""
    results, cut = ready.plant.release.observations, ready.folds[0].cut
    correction = results[results["batch_id"].isin(ready.folds[0].train)].assign(
        available_at=cut, revision=np.int32(1), value=lambda r: 200 - r["value"]
    )
    later = results.assign(value=results["value"].mask(results["available_at"] >= cut, 1.0))
    made = ready.forward(observations=pd.concat([later, correction]))
    np.testing.assert_array_equal(block_inputs(made, 0)[0], block_inputs(folded, 0)[0])
    assert not np.array_equal(block_inputs(made, 1)[0], block_inputs(folded, 1)[0])  # the next fold knows them
    in_time = correction.assign(available_at=cut - pd.Timedelta(seconds=1))
    made = ready.forward(observations=pd.concat([results, in_time]))
    assert not np.array_equal(block_inputs(made, 0)[0], block_inputs(folded, 0)[0])


def test_a_fold_learns_from_no_label_that_came_at_its_cut_or_later(ready, folded) -> None:
    """The outcome of every training batch is turned round by a later correction: learned by the next fold alone."""
    log, cut = ready.plant.log, ready.folds[0].cut
    train = log["batch_id"].isin(ready.folds[0].train[::2])
    turned = log[train].assign(failed=~log["failed"][train], revision=np.int32(1), label_available_at=cut)
    made = ready.forward(log=pd.concat([log, turned]))
    for was, now in zip(block_inputs(folded, 0), block_inputs(made, 0), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not np.array_equal(block_inputs(folded, 1)[1], block_inputs(made, 1)[1])


def test_a_folds_modes_are_those_named_before_its_cut(ready, folded) -> None:
    """Half of the first fold's modes are named only at its cut: the calibration rests on trees that did not know them."""
    inputs = Bins(ready.layers(ready.plant.release.observations).inputs, QUICK)
    cases = pd.Series(ready.failed.index[ready.failed])

    def asked(at: pd.Timestamp) -> list[pd.Timestamp]:
        return [at, *(block.cut for block in folded.blocks)]

    seen = []

    def modes(cut: pd.Timestamp) -> pd.DataFrame:
        seen.append(cut)
        known = cases if cut > folded.blocks[0].cut else cases[::2]
        return pd.DataFrame({"batch_id": known, "mode": "hard"})

    (model,), _ = fit_modes(folded, inputs, modes, ready.failed, ready.cut, 20)
    assert seen == asked(ready.cut)
    (knowing,), _ = fit_modes(folded, inputs, lambda _: modes(ready.cut), ready.failed, ready.cut, 20)
    assert model.model_text == knowing.model_text
    assert model.calibration != knowing.calibration


def test_out_of_fold_rows_are_those_validated_each_by_its_own_fold(ready, folded) -> None:
    rows = folded.out_of_fold
    for fold in ready.folds:
        assert set(rows.loc[rows["fold"] == fold.name, "batch_id"]) == set(fold.validation)
    hours = rows["checkpoint_h"].to_numpy()
    np.testing.assert_array_equal(rows["log_odds"], folded.calibration.log_odds(rows["raw"].to_numpy(), hours))


def test_training_rows_see_their_attributes_out_of_fold(ready) -> None:
    """In sample the chance of a miss would follow a batch's own result, which no later batch has yet."""
    layers = ready.layers(ready.plant.release.observations)
    hours = ready.table.rows["checkpoint_h"].to_numpy(float)
    in_sample = layers.evidence.of(ready.table.X, hours).columns
    place = [f.name for f in layers.evidence.features].index(MISS_LOG_ODDS)
    own = layers.evidence_columns[:, place]
    assert np.isfinite(own).all()
    assert (own != in_sample[:, place]).mean() > 0.9  # the others are cut at one in a million
    later = hours >= 12
    y = ready.table.rows["batch_id"].map(ready.failed).to_numpy(bool)
    gap = [column[later & y].mean() - column[later & ~y].mean() for column in (own, in_sample[:, place])]
    assert gap[0] < gap[1]


def test_with_forecasts_the_trees_see_evidence_and_without_all_features_but_the_signs(ready) -> None:
    with_results = ready.layers(ready.plant.release.observations).inputs.encoder.columns
    assert LEAST_MARGIN in with_results
    assert not [name for name in with_results if name.startswith("force_kn")]
    without = ready.layers(None).inputs.encoder.columns
    assert "force_kn.since_start.mean" in without
    assert "force_kn.now.flat_h" not in without
    assert LEAST_MARGIN not in without


def test_without_forecasts_the_trees_are_shown_batches_without_the_sensor(ready) -> None:
    layers = ready.layers(None)
    place = layers.inputs.encoder.columns.index("force_kn.since_start.mean")
    later = (layers.inputs.rows["checkpoint_h"] >= 12).to_numpy()
    hidden = np.isnan(layers.inputs.X[later, place]).mean()
    assert 0.1 < hidden < 0.4
