from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from features.errors import TrainingError
from models.cohort.splits import Seal, seal_test
from models.evaluation.intervals import with_interval
from models.evaluation.metrics import auroc
from models.learners.blend import TREES_ALONE
from models.learners.deviations import LARGEST
from models.learners.trees import PLAIN
from models.predictor import Predictor
from models.train import Trained, train
from tests.models.plant import FLAT, QUICK, Plant, foresee, make_plant


def retrain(plant, **changes) -> Trained:
    inputs = {
        "snapshots": plant.snapshots,
        "features": plant.features,
        "batches": plant.batches,
        "log": plant.log,
        "plan": QUICK,
    }
    return train(plant.process, **{**inputs, **changes})


def test_the_same_input_in_another_order_gives_the_same_predictor_to_the_byte(plant, trained) -> None:
    shuffled = plant.snapshots.sample(frac=1, random_state=3)
    columns = [*shuffled.columns[:4], *reversed(shuffled.columns[4:])]
    again = retrain(
        plant,
        snapshots=shuffled[columns],
        features=tuple(reversed(plant.features)),
        batches=plant.batches.sample(frac=1, random_state=4),
        log=plant.log.sample(frac=1, random_state=5),
    )
    assert again.predictor.model_texts == trained.predictor.model_texts
    assert again.predictor.sha256 == trained.predictor.sha256


def test_the_number_of_threads_does_not_change_the_predictor(plant, trained) -> None:
    assert retrain(plant, plan=replace(QUICK, threads=2)).predictor.sha256 == trained.predictor.sha256


def test_linear_algebra_runs_on_one_thread_whatever_the_machine_has(plant) -> None:
    seen = []

    def progress(*_: object) -> None:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    with threadpool_limits(2, user_api="blas"):
        retrain(plant, progress=progress)
    assert seen
    assert set(seen) == {1}


def test_nothing_of_the_sealed_test_moves_the_predictor(plant, trained) -> None:
    sealed = list(trained.seal.batch_ids)
    hidden = plant.snapshots["batch_id"].isin(sealed)
    snapshots = plant.snapshots.copy()
    snapshots.loc[hidden, "force_kn.since_start.mean"] = -7.0
    log = plant.log.assign(failed=plant.log["failed"] ^ plant.log["batch_id"].isin(sealed))
    assert retrain(plant, snapshots=snapshots, log=log).predictor.sha256 == trained.predictor.sha256


def test_batches_whose_label_came_after_the_cut_are_not_trained_on(plant, trained) -> None:
    known = plant.log.set_index("batch_id")["label_available_at"]
    assert (known[trained.failed.index] < trained.seal.cut).all()
    assert len(trained.seal.batch_ids) == 30
    assert len(trained.failed) == 90 - 6  # six batches started within three days before the cut


def test_a_later_correction_does_not_reach_back_into_training(plant, trained) -> None:
    batch = str(trained.failed.index[10])
    old = plant.log[plant.log["batch_id"] == batch]
    later = trained.seal.cut + pd.Timedelta(days=1)
    new = old.assign(failed=~old["failed"], revision=old["revision"] + 1, label_available_at=later)
    assert retrain(plant, log=pd.concat([plant.log, new])).predictor.sha256 == trained.predictor.sha256


def test_every_snapshot_is_accounted_for(plant) -> None:
    log = plant.log.copy()
    log.loc[log["batch_id"] == "B005", "censored"] = True
    log = log[log["batch_id"] != "B119"]
    excluded = retrain(plant, log=log).excluded.set_index("reason")
    assert excluded["rows"].sum() == len(plant.snapshots)
    assert excluded.loc["censored outcome", "batches"] == 1
    assert excluded.loc["no outcome yet", "rows"] == 3


def test_snapshots_taken_when_the_outcome_was_known_are_left_out(plant) -> None:
    early = plant.log["batch_id"] == "B020"
    known = plant.log["label_available_at"].mask(early, plant.log["label_available_at"] - pd.Timedelta(hours=60))
    excluded = retrain(plant, log=plant.log.assign(label_available_at=known)).excluded.set_index("reason")
    assert (
        excluded.loc["taken when the outcome was already known", "rows"] == 2
    )  # label at 12 h: 12 h and 24 h are late


def test_out_of_fold_scores_find_the_signal_and_cover_the_validated_batches(trained) -> None:
    rows = trained.out_of_fold[trained.out_of_fold["checkpoint_h"] == 24]
    assert set(rows["batch_id"]) == {b for fold in trained.folds for b in fold.validation}
    assert with_interval(auroc, *(rows[n].to_numpy() for n in ("failed", "raw", "batch_id"))).low > 0.5


def test_features_that_say_nothing_are_dropped(trained) -> None:
    names = trained.predictor.encoder.columns
    assert "constant.before_start.value" not in names
    assert "empty.before_start.value" not in names
    assert "line.before_start.value" in names


def test_no_failures_at_all_is_one_clear_line(plant) -> None:
    with pytest.raises(TrainingError, match=r"soup, training part: none of 84 batches failed"):
        retrain(plant, log=plant.log.assign(failed=False))


def test_too_few_failures_is_one_clear_line(plant) -> None:
    few = plant.log["batch_id"].isin(["B001", "B030", "B070"])
    with pytest.raises(TrainingError, match="only 3 of 84 batches failed; expected at least 5"):
        retrain(plant, log=plant.log.assign(failed=few))


def weekly(outcomes: str) -> Plant:
    """A batch a week, decided after three days; F failed."""
    plant = make_plant(len(outcomes))
    later = pd.to_timedelta(np.arange(len(outcomes)) * 156, unit="h")  # they start every 12 h
    moved = dict(zip(plant.batches["batch_id"], later, strict=True))
    shift = plant.snapshots["batch_id"].map(moved)
    at = {name: plant.snapshots[name] + shift for name in ("started_at", "as_of")}
    return replace(
        plant,
        snapshots=plant.snapshots.assign(**at),
        batches=plant.batches.assign(started_at=plant.batches["started_at"] + later),
        log=plant.log.assign(
            failed=[letter == "F" for letter in outcomes], label_available_at=plant.log["label_available_at"] + later
        ),
    )


@pytest.mark.parametrize(
    "outcomes",
    [
        # 45 train, 30 of them failed; the first 18 hold one success
        "FFFFFFFFFFFFFFF.FFFFF.....F.FFFF.FFF......FF.FFFFF.F.FFF..FF",
        "F.F.F.F.F.F" + 49 * ".",  # failures early
        34 * "." + "F.F.F.F.F.F" + 15 * ".",  # failures late in the training part
        20 * "." + "FF.FF.FF.FF" + 29 * ".",  # all failures in eleven weeks
        "F." * 30,
    ],
    ids=["one success first", "early", "late", "one season", "alternating"],
)
def test_a_history_whose_outcomes_cluster_in_time_is_trained_on(outcomes) -> None:
    plant = weekly(outcomes)
    result = retrain(plant)
    seen = result.out_of_fold.groupby("batch_id")["failed"].first()
    assert set(seen) == {True, False}
    assert np.isfinite(result.predictor.predict(plant.snapshots)).all()


def test_failures_all_decided_when_the_last_one_had_started_are_refused_with_a_remedy(plant) -> None:
    early = plant.log["batch_id"] < "B010"  # and no success before them
    with pytest.raises(TrainingError, match="at no time were a failure and a success known") as refused:
        retrain(plant, log=plant.log.assign(failed=early))
    assert "--history" in str(refused.value)


def test_a_training_without_outcomes_is_one_clear_line(plant) -> None:
    with pytest.raises(TrainingError, match="soup: 0 batches have an outcome"):
        retrain(plant, log=plant.log[:0])


def test_no_subject_stands_on_both_sides(plant) -> None:
    keys = [f"donor {i % 17}" if i % 17 < 8 else "" for i in range(len(plant.batches))]
    donor = pd.Series(keys, index=plant.batches["batch_id"])
    result = retrain(plant, batches=plant.batches.assign(subject_key=pd.array(keys, dtype="str")))
    tested = set(donor[list(result.seal.batch_ids)]) - {""}
    assert len(tested) == 8  # all of them come again within the test's 30 batches
    assert set(donor[result.failed.index]) == {""}
    for fold in result.folds:
        assert not (set(donor[list(fold.train)]) & set(donor[list(fold.validation)])) - {""}


def test_attributes_that_no_fold_had_enough_results_to_forecast_are_not_forecast_at_the_end(plant) -> None:
    result = foresee(plant)  # 84 results in the end, but 52 at the last fold's cut
    assert result.predictor.evidence.forecasts is None
    assert result.predictor.learner == "trees"  # without forecasts the layers have little to stand on
    assert np.isfinite(result.predictor.predict(plant.snapshots)).all()


def test_with_release_results_too_neither_order_of_rows_nor_of_columns_changes_a_byte(foreseen_plant, foreseen) -> None:
    plant = foreseen_plant
    columns = [*plant.snapshots.columns[:4], *reversed(plant.snapshots.columns[4:])]
    shuffled = replace(
        plant,
        snapshots=plant.snapshots.sample(frac=1, random_state=3)[columns],
        features=tuple(reversed(plant.features)),
        batches=plant.batches.sample(frac=1, random_state=4),
        log=plant.log.sample(frac=1, random_state=5),
        release=replace(
            plant.release,
            observations=plant.release.observations.sample(frac=1, random_state=6),
            dispositions=plant.release.dispositions.sample(frac=1, random_state=7),
        ),
    )
    again = foresee(shuffled)
    assert again.predictor.sha256 == foreseen.predictor.sha256
    np.testing.assert_array_equal(again.predictor.predict(plant.snapshots), foreseen.predictor.predict(plant.snapshots))


def test_nothing_known_at_the_seal_or_later_moves_a_predictor_with_release_results(foreseen_plant, foreseen) -> None:
    plant, cut = foreseen_plant, foreseen.seal.cut
    results = plant.release.observations
    spoiled = results.assign(value=results["value"].mask(results["available_at"] >= cut, 1.0))
    corrected = results.assign(available_at=cut, revision=np.int32(1), value=1.0)
    late = plant.release.dispositions.assign(decided_at=cut, revision=np.int32(1), failure_modes="other")
    again = foresee(
        plant,
        observations=pd.concat([spoiled, corrected]),
        dispositions=pd.concat([plant.release.dispositions, late]),
    )
    assert again.predictor.sha256 == foreseen.predictor.sha256


def test_thresholds_keep_their_budgets_on_the_out_of_fold_scores(foreseen) -> None:
    rows = foreseen.out_of_fold[foreseen.out_of_fold["as_of"] <= foreseen.out_of_fold["end_at"]]
    good = rows[~rows["failed"]].groupby("batch_id")["failure_probability"].max()
    thresholds = foreseen.predictor.thresholds
    assert (good > thresholds.high).mean() <= thresholds.alarm_budget
    assert (good > thresholds.elevated).mean() <= thresholds.watch_budget


TREES = replace(QUICK, learner="trees", members=2)


@pytest.fixture(scope="module")
def trees(foreseen_plant) -> Trained:
    """Trees alone, of a plant whose release attributes could be forecast."""
    return foresee(foreseen_plant, plan=TREES)


def test_trees_alone_see_features_only_and_have_fixed_settings(trees) -> None:
    assert trees.settings == PLAIN
    predictor = trees.predictor
    assert set(predictor.inputs) <= set(predictor.encoder.columns)
    assert FLAT not in predictor.inputs  # the sign of a fault
    assert "force_kn.since_start.mean" in predictor.inputs
    assert predictor.evidence.forecasts is None
    assert predictor.blend == TREES_ALONE
    assert predictor.from_h == (0.0, 12.0, 24.0)  # each checkpoint has two models of its own
    assert len(predictor.model_texts) == 6
    assert all("num_leaves=8" not in text for text in predictor.model_texts)


def test_the_log_odds_of_trees_alone_are_taken_as_they_are(trees) -> None:
    found = trees.predictor.calibration
    assert (found.hours, found.intercepts, found.slopes) == ((0.0,), (0.0,), (1.0,))
    assert found.covariances[0][0] > 0
    np.testing.assert_array_equal(trees.out_of_fold["log_odds"], trees.out_of_fold["raw"])


def test_layers_are_used_where_release_attributes_can_be_forecast_or_where_they_are_asked_for(
    foreseen_plant, plant
) -> None:
    assert foresee(foreseen_plant).predictor.learner == "layers"
    assert foresee(plant, plan=replace(QUICK, learner="layers")).predictor.learner == "layers"


@pytest.fixture(scope="module")
def deviations(foreseen_plant) -> Trained:
    return foresee(foreseen_plant, plan=replace(TREES, learner="deviations"))


def test_deviations_alone_order_batches_by_the_farthest_parameter(deviations, foreseen_plant) -> None:
    predictor, rows = deviations.predictor, foreseen_plant.snapshots.tail(60)
    hours = rows["checkpoint_h"].to_numpy(float)
    found = predictor.assess(predictor.encoder.encode(rows), hours)
    far = found.seen.columns[:, [f.name for f in predictor.evidence.features].index(LARGEST)]
    blend = predictor.blend
    assert (blend.names, blend.trees_slope) == ((LARGEST,), 0.0)
    z = np.where(np.isnan(far), 0.0, (far - blend.usual[0]) / blend.scale[0])
    np.testing.assert_allclose(found.log_odds, blend.intercept + blend.slopes[0] * z, atol=1e-9)
    total = predictor.base_log_odds(hours) + predictor.contributions(rows).sum(axis=1)
    np.testing.assert_allclose(total, found.log_odds, atol=1e-9)


def test_the_learner_and_its_figures_are_kept_with_the_predictor(trees, deviations, foreseen, tmp_path) -> None:
    assert (trees.predictor.learner, deviations.predictor.learner, foreseen.predictor.learner) == (
        "trees", "deviations", "layers"
    )  # fmt: skip
    assert foreseen.predictor.choice is None
    deviations.predictor.save(tmp_path)
    again = Predictor.load(tmp_path)
    assert again.choice == deviations.predictor.choice
    assert again.sha256 == deviations.predictor.sha256


def test_failures_weigh_as_they_come_for_trees_alone(trees, foreseen_plant) -> None:
    assert "[min_data_in_leaf: 5]" in trees.predictor.model_texts[0]
    assert "[max_bin: 255]" in trees.predictor.model_texts[0]
    again = foresee(foreseen_plant, plan=replace(TREES, most_rounds=3))
    assert again.predictor.sha256 == trees.predictor.sha256  # their number is fixed


def test_trees_alone_are_the_same_on_any_number_of_threads_and_in_any_order(trees, foreseen_plant) -> None:
    shuffled = replace(foreseen_plant, snapshots=foreseen_plant.snapshots.sample(frac=1, random_state=3))
    assert foresee(shuffled, plan=replace(TREES, threads=2)).predictor.sha256 == trees.predictor.sha256


def test_base_and_contributions_of_trees_alone_add_up(trees, foreseen_plant) -> None:
    rows, predictor = foreseen_plant.snapshots.head(40), trees.predictor
    total = predictor.base_log_odds(rows["checkpoint_h"].to_numpy()) + predictor.contributions(rows).sum(axis=1)
    np.testing.assert_allclose(total, predictor.log_odds(rows), atol=1e-9)


def test_a_batch_of_weight_nothing_moves_no_tree(plant) -> None:
    ids = plant.log["batch_id"]
    weights = pd.Series(1.0, index=ids).where(ids.to_numpy() != "B010", 0.0)
    turned = plant.log.assign(failed=plant.log["failed"] ^ ids.eq("B010"))
    texts = [
        retrain(plant, plan=TREES, weights=weights, log=log, seal=retrain_seal(plant)).predictor.model_texts
        for log in (plant.log, turned)
    ]
    trees_of = [[text.partition("feature_importances")[0] for text in members] for members in texts]
    assert trees_of[0] == trees_of[1]


def retrain_seal(plant) -> Seal:
    """Decided by time alone, so the same for every log."""
    return seal_test(plant.batches, plant.log, process_id=plant.process.id)
