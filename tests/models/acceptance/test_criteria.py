from dataclasses import replace

import pandas as pd
import pytest

from features.errors import ContractError, ProcessError
from models.acceptance.claims import refuse_validated
from models.acceptance.criteria import Criterion, check, load_acceptance, parse_acceptance
from models.acceptance.figures import FIGURES, WORDS
from models.evaluation.evaluate import Evaluation

TEXT = """
process = "soup"

[[criterion]]
metric = "recall"
bound = 0.5
side = "at_least"
least_failures = 10

[[feature]]
pattern = "force_kn.*"
mechanism = "a hard press breaks the grains"
expected_sign = "+"
"""


def with_figures(evaluation: Evaluation) -> Evaluation:
    alarms = evaluation.alarms.assign(recall=0.6, recall_low=0.4, good_alarmed=0.04, good_alarmed_low=0.01)
    overall = evaluation.overall | {"n_failed": 12, "n_batches": 80, "auroc_low": 0.7}
    calibration = pd.DataFrame({"ece": [0.08, 0.02], "ece_floor": [0.05, 0.05]})
    support = ["none", "limited", "sufficient", "sufficient"]
    limits = pd.DataFrame({"figure": ["recall"], "difference": [0.2], "low": [-0.05]})
    return replace(
        evaluation,
        alarms=alarms,
        overall=overall,
        against_limits=limits,
        calibration=calibration,
        scores=pd.DataFrame({"support": support}),
    )


def criterion(metric: str, bound: float, side: str = "at_least", least: int = 10) -> Criterion:
    return Criterion.model_validate({"metric": metric, "bound": bound, "side": side, "least_failures": least})


def test_each_figure_is_held_against_its_bound_with_its_failures(rich_evaluation) -> None:
    evaluation = with_figures(rich_evaluation)
    criteria = [
        criterion("recall", 0.5), criterion("recall_low", 0.5), criterion("alarm_share", 0.05, "at_most"),
        criterion("auroc_low", 0.7), criterion("ece_above_floor", 0.02, "at_most"),
        criterion("no_support_share", 0.25, "at_most"), criterion("weak_support_share", 0.4, "at_most"),
        criterion("recall_above_limits", 0.1), criterion("recall_above_limits_low", 0.0),
        criterion("recall", 0.5, least=13),
    ]  # fmt: skip
    results = check(criteria, evaluation)
    assert [r.verdict for r in results] == [
        "met", "not met", "met", "met", "not met", "met", "not met", "met", "not met", "not enough failures",
    ]  # fmt: skip
    assert [round(r.value, 6) for r in results[:7]] == [0.6, 0.4, 0.04, 0.7, 0.03, 0.25, 0.5]
    assert {(r.n, r.n_failed) for r in results} == {(80, 12)}
    assert results[0].line == "recall 0.6 (at least 0.5; 12 failures of 10 needed): met"


def test_a_figure_that_an_evaluation_does_not_give_meets_nothing(rich_evaluation) -> None:
    bare = replace(with_figures(rich_evaluation), against_limits=pd.DataFrame(), costs=pd.DataFrame())
    results = check([criterion("recall_above_limits", -1), criterion("saved_per_batch", -1e9)], bare)
    assert [r.verdict for r in results] == ["not met", "not met"]


def test_every_figure_has_words_and_a_value_in_a_real_evaluation(rich_evaluation) -> None:
    assert set(FIGURES) == set(WORDS)
    for figure in FIGURES.values():
        assert isinstance(figure(rich_evaluation).value, float)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('metric = "recall"', 'metric = "recal"', "criterion.0.metric: 'recal' is not a figure; known: auroc, "),
        ("least_failures = 10", "least_failures = 0", "criterion.0.least_failures: "),
        ('pattern = "force_kn.*"', "", "feature.0: give name or pattern"),
        ('mechanism = "a hard press breaks the grains"', 'mechanism = "yes"', "feature.0.mechanism: "),
        ("process =", "proces =", "(process|proces): "),
        ('[[feature]]', '[[criterion]]\nmetric = "recall"\nbound = 1\nside = "at_least"\nleast_failures = 5\n[[feature]]',
         "recall is bounded at_least twice"),
        ("bound = 0.5", "bound = ", "not TOML"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_one_line_with_the_key(tmp_path, old, new, said) -> None:
    path = tmp_path / "soup.acceptance.toml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ProcessError, match=said) as caught:
        load_acceptance(path)
    assert "\n" not in str(caught.value)
    assert "soup.acceptance.toml" in str(caught.value)


def test_a_signed_text_is_read_as_the_file_is() -> None:
    assert parse_acceptance(TEXT, "signed").criterion[0].bound == 0.5


def test_validated_is_refused_while_a_batch_is_simulated() -> None:
    for text in ("The model is validated.", "Validation report"):
        with pytest.raises(ContractError, match="batches of the training part or the test are simulated"):
            refuse_validated(text, simulated=True, where="the meaning")
        refuse_validated(text, simulated=False, where="the meaning")
    refuse_validated("verification on simulated data; validates nothing", simulated=True, where="the meaning")
