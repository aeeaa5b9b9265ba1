import math

import pandas as pd
import pytest

from models.card import model_card
from models.cohort.splits import seal_of
from models.evaluation.development import as_development, out_of_fold_scores, without_the_test
from models.evaluation.evaluate import Evaluation, evaluate
from models.evaluation.sealed_test import score_test
from models.report.html import html_report
from models.run_metrics import top_metrics


@pytest.fixture(scope="module")
def evaluation(plant, trained) -> Evaluation:
    looked_at = seal_of("soup", trained.seal.cut, tuple(trained.failed.index[-20:]))
    scored = score_test(
        plant.process, trained.predictor, plant.snapshots, plant.features, plant.batches, plant.log, looked_at
    )
    tested = as_development(scored, trained, plant.batches, plant.log)
    found = evaluate(
        plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log,
        tested=tested, looked_at=looked_at,
    )  # fmt: skip
    return without_the_test(found)


def test_only_training_batches_are_scored_with_scores_of_models_that_had_not_learnt_from_them(plant, trained) -> None:
    rows = out_of_fold_scores(trained, plant.batches, plant.log)
    assert set(rows["batch_id"]) <= set(trained.failed.index)
    assert not set(rows["batch_id"]) & set(trained.seal.batch_ids)
    folds = trained.out_of_fold.set_index(["batch_id", "checkpoint_h"])["failure_probability"]
    own = rows.set_index(["batch_id", "checkpoint_h"])["failure_probability"]
    pd.testing.assert_series_equal(own, folds.loc[own.index])
    above = rows["failure_probability"] > trained.predictor.thresholds.high
    assert (rows.loc[above, "call"] == "high").all()
    assert (rows["label_available_at"] < trained.seal.cut).all()


def test_figures_of_development_say_so_and_claim_nothing_of_the_test(plant, trained, evaluation, tmp_path) -> None:
    assert (evaluation.read_test, evaluation.counts["test_failed"], evaluation.counts["test_scored"]) == (False, 0, 0)
    assert evaluation.overall["auroc"] > 0.7
    assert evaluation.support["limited"].isna().all()
    assert "weak_support_share" not in top_metrics(evaluation)
    page = html_report(plant.process, trained, evaluation)
    assert "Support was limited" not in page
    assert "Never with sufficient support" not in page
    assert "Acceptance criteria are not signed: the test was not read, and nothing was accepted." in page
    card = model_card(plant.process, trained, evaluation, None, made_from={})
    assert "Development figures, out of fold: the test was not read" in card
    evaluation.save(tmp_path)
    back = Evaluation.load(tmp_path)
    assert (back.read_test, back.readings, back.criteria_sha256) == (False, 0, "")
    assert math.isnan(back.support["limited"].iloc[0])


def test_a_predictor_with_forecasts_modes_and_sites_has_figures_of_development_too(rich) -> None:
    plant, trained = rich.plant, rich.trained
    looked_at = seal_of("soup", trained.seal.cut, tuple(trained.failed.index[-20:]))
    scored = score_test(
        plant.process, trained.predictor, plant.snapshots, plant.features, plant.batches, plant.log, looked_at
    )
    found = evaluate(
        plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log,
        tested=as_development(scored, trained, plant.batches, plant.log), looked_at=looked_at,
    )  # fmt: skip
    draft = without_the_test(found)
    assert set(draft.subgroups["attribute"]) >= {"all", "site_id"}
    assert len(draft.against_limits)
    page = html_report(plant.process, trained, draft)
    assert ">nan" not in page
    assert draft.absent["modes"] == draft.absent["attributes"] == "The test was not read."
