import re
from dataclasses import replace

import pandas as pd
import pytest

from models.acceptance.intended_use import IntendedUse
from models.card import MOST, model_card
from models.evaluation.champion import COLUMNS, NOT_WORSE, Comparison
from models.run_metrics import curves, tables, top_metrics


@pytest.fixture(scope="session")
def card(rich, rich_evaluation) -> str:
    found = Comparison(
        "3", NOT_WORSE, 0.05, "2026-01-01", 40, 9, "Both order them alike.", pd.DataFrame(columns=COLUMNS)
    )
    made_from = {"Delta table versions": "features.snapshot_features 2", "dagster_run_id": "b4"}
    return model_card(rich.plant.process, rich.trained, rich_evaluation, found, made_from=made_from)


def test_a_card_says_what_a_reviewer_has_to_decide_by(card) -> None:
    sections = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert sections == [
        "Intended use", "Champion", "Figures on the test", "Data and exclusions", "Limits", "Made from", "Who must sign",
    ]  # fmt: skip
    assert "Against champion version 3: not worse by the margin. Both order them alike." in card
    assert "- Delta table versions: `features.snapshot_features 2`" in card
    assert "rare (" in card  # a failure mode without a model
    assert len(card) <= MOST


def test_its_rows_add_up_to_every_snapshot(card, rich, rich_evaluation) -> None:
    rows = [
        int(cell.replace(",", ""))
        for cell in re.findall(r"^\| [^|]+\| \d+ \| ([\d,]+) \| (?:yes|no)", card, re.MULTILINE)
    ]
    assert sum(rows) == len(rich.plant.snapshots) == int(rich_evaluation.excluded["rows"].sum())
    assert f"| all | | {len(rich.plant.snapshots):,} | |" in card


def test_its_figures_stand_with_their_failures(card, rich_evaluation) -> None:
    overall = rich_evaluation.overall
    assert f"| failures of batches | {overall['n_failed']:.0f} of {overall['n_batches']:.0f} |" in card
    assert f"{overall['auroc']:.3f} (95 % interval {overall['auroc_low']:.3f} to {overall['auroc_high']:.3f})" in card


def test_a_card_that_is_too_long_says_that_it_was_cut(rich, rich_evaluation) -> None:
    long = model_card(
        rich.plant.process, rich.trained, rich_evaluation, None, made_from={str(i): "a digest" for i in range(400)}
    )
    assert len(long) == MOST
    assert long.endswith("(cut: the rest is in the report)")


def test_the_intended_use_of_the_plant_stands_in_the_card(rich, rich_evaluation) -> None:
    use = IntendedUse(
        process="soup", question="Will this soup be thrown away?", product="Soup", process_versions=("1",), sites=("any",),
        decision_points_h=(12,), users=("the cook",), limits=("tastes nothing",),
    )  # fmt: skip
    text = model_card(rich.plant.process, rich.trained, rich_evaluation, None, made_from={}, intended_use=use)
    assert "Will this soup be thrown away? Soup; process versions 1, sites any; decided on at 12 h." in text
    assert "- tastes nothing" in text
    assert "There is no effective version to compare with." in text


def test_figures_without_the_test_are_called_development_figures(rich, rich_evaluation) -> None:
    unread = replace(rich_evaluation, read_test=False)
    text = model_card(rich.plant.process, rich.trained, unread, None, made_from={})
    assert "## Development figures, out of fold: the test was not read" in text
    assert "## Figures on the test" not in text


def test_versions_are_compared_by_about_ten_figures(rich_evaluation) -> None:
    top = top_metrics(rich_evaluation)
    high = rich_evaluation.alarms.set_index("call").loc["high"]
    assert list(top) == [
        "failures", "batches", "auroc", "auroc_low", "auroc_high", "recall", "median_lead_h", "alarm_share",
        "weak_support_share", "ece_above_floor", "saved_per_batch",
    ]  # fmt: skip
    assert (top["recall"], top["alarm_share"]) == (high["recall"], high["good_alarmed"])
    weak = rich_evaluation.scores["support"].isin(["limited", "none"])
    assert top["weak_support_share"] == weak.sum() / len(weak)


def test_a_curve_has_a_point_at_every_hour_of_the_checkpoints(rich_evaluation) -> None:
    points = [(step, value) for name, value, step in curves(rich_evaluation) if name == "by_hour/called_high_failed"]
    last = rich_evaluation.scores.query("checkpoint_h == 24 and failed")
    assert [step for step, _ in points] == [0, 12, 24]
    assert points[-1][1] == (last["call"] == "high").mean()


def test_half_hours_are_counted_in_minutes(rich_evaluation) -> None:
    halves = {name: frame.assign(checkpoint_h=frame["checkpoint_h"] / 48) for name, frame in (
        ("checkpoints", rich_evaluation.checkpoints), ("support", rich_evaluation.support), ("scores", rich_evaluation.scores),
    )}  # fmt: skip
    found = {(name, step) for name, _, step in curves(replace(rich_evaluation, **halves))}
    assert {step for name, step in found if name == "by_minute/n_failed"} == {0, 15, 30}


def test_tables_are_named_and_empty_ones_left_out(rich_evaluation) -> None:
    found = tables(rich_evaluation)
    assert "calls.csv" in found
    assert "sensors.csv" not in found
    assert len(found["data_and_exclusions.csv"]) == len(rich_evaluation.excluded)
