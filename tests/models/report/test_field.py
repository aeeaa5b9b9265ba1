import pandas as pd
import pytest

from models.backtest.figures import field_table, side_by_side
from models.policy import Policy
from models.report.field import CALLS, field_context, field_report
from models.report.html import page_environment
from tests.models.backtest.test_figures import SCORES, STARTED, process
from tests.models.plant import utc

VERSIONS = pd.DataFrame({
    "number": [1, 2, 3], "kind": "trained", "trees_of": [1, 2, 3], "made_at": [utc(f"2026-01-0{day}") for day in (1, 3, 5)],
    "serves_from": [utc("2026-01-02"), pd.NaT, pd.NaT], "status": ["served", "refused", "too little known"],
    "sha256": ["a", "b", ""], "n_known": [9, 19, 29], "n_failed": [5, 6, 7], "test_auroc": [float("nan"), 0.61, float("nan")],
    "test_batches": [0, 12, 0], "test_failed": [0, 5, 0],
})  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return field_table(SCORES, STARTED, process(), blocks=2)


@pytest.fixture(scope="module")
def page(table) -> str:
    return field_report(process(), Policy(approval_delay_h=24), VERSIONS, table, note="<made up>")


def test_the_page_shows_every_block_with_its_counts(page) -> None:
    assert page.startswith("<!doctype html>")
    for text in ("1 of 6", "2 of 6", "1 of 2", "2.2 of 2", "2026-01-01 to 2026-01-08", "approved 24 h later"):
        assert text in " ".join(page.split()), text
    assert page.count("<svg") == len(CALLS)


def test_the_page_shows_every_version_with_what_became_of_it(page) -> None:
    assert "2026-01-02 00:00" in page
    assert "<td>refused</td>" in page
    assert "<td>too little known</td>" in page


def test_trainings_and_recalibrations_are_told_apart(page, table) -> None:
    assert page.count("<td>trained</td>") == 3
    assert "recalibrated" not in page.replace("recalibrate_every_outcomes", "")
    versions = VERSIONS.assign(kind=["trained", "recalibrated", "trained"], trees_of=[1, 1, 3])
    other = field_report(process(), Policy(recalibrate_every_outcomes=10), versions, table)
    assert "<td>recalibrated, trees of version 1</td>" in other
    assert "A recalibrated version has the trees of an earlier one" in other
    assert "<dt>recalibrate_every_outcomes</dt><dd>10</dd>" in other
    assert "<dt>recalibrate_every_outcomes</dt><dd>with each training only</dd>" in page


def test_the_page_shows_the_rules_and_the_note_escaped(page) -> None:
    assert "<dt>approval_delay_h</dt><dd>24.0</dd>" in page
    assert "<dt>learner</dt><dd>auto</dd>" in page
    assert "&lt;made up&gt;" in page
    assert "<made up>" not in page


def test_the_page_loads_nothing_from_anywhere(page) -> None:
    for tag in ("<script", "<link", "<img", "src="):
        assert tag not in page


def test_another_policy_stands_beside_it_with_the_differences(page, table) -> None:
    assert "Side by side" not in page
    pairs = side_by_side(SCORES, SCORES)
    both = field_report(process(), Policy(), VERSIONS, table, table, pairs)
    assert "Side by side, on the same batches" in both
    assert both.count("<svg") == 2 * len(CALLS)
    assert all(figure in both for figure in pairs["figure"])


def test_one_block_alone_has_no_chart() -> None:
    one = field_table(SCORES, STARTED, process(), blocks=1)
    assert field_context(one)["charts"] == {}


def test_a_count_outside_of_what_was_asked_has_a_star(table) -> None:
    odd = table.assign(high_as_asked=False)
    field = field_context(odd)
    text = page_environment().get_template("field.html").render(field=field, interval=lambda *_: "")
    assert text.count("*") >= len(odd)


def test_a_block_of_one_kind_alone_is_drawn_without_the_other() -> None:
    good = field_table(SCORES[~SCORES["failed"]], STARTED, process(), blocks=2)
    assert "NaN" not in field_report(process(), Policy(), VERSIONS, good)
