import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from markupsafe import escape

from models.cohort.splits import subject_groups
from models.evaluation.compare import compare_splits
from models.evaluation.evaluate import Evaluation, evaluate
from models.evaluation.sealed_test import sealed_rows
from models.learners.candidates import Choice
from models.report.html import by_question, figure, findings_of, hours, html_report, interval, percent, summary_of
from models.report.imprint import Imprint
from models.report.labels import attribute_label, rule_in_words
from models.report.pictures import charts_of
from models.report.shap_plots import shap_plots
from tests.models.plant import QUICK, utc


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        if tag not in {"meta", "img", "br", "path", "rect", "line", "circle", "use"}:
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.fixture(scope="module")
def evaluation(plant, trained) -> Evaluation:
    splits = compare_splits(
        plant.snapshots, plant.batches, {"failed": plant.log}, groups=subject_groups(plant.batches), plan=QUICK
    )
    batches = plant.batches.assign(origin="simulated")
    return evaluate(plant.process, trained, plant.snapshots, plant.features, batches, plant.log, splits=splits)


@pytest.fixture(scope="module")
def page(plant, trained, evaluation) -> str:
    rows = sealed_rows(plant.snapshots, plant.log, trained.seal, only_last=True)
    images = shap_plots(trained.predictor, rows, dependence=1)
    return html_report(plant.process, trained, evaluation, images=images, more={"Run history": "<b>120</b> batches"})


def test_the_report_loads_nothing_from_anywhere(page) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in tags.sources)
    assert "script" not in tags.seen
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_report_shows_the_figures_with_their_failures_and_intervals(page, evaluation) -> None:
    overall = evaluation.overall
    assert f"<b>{overall['auroc']:.3f}</b>" in page
    assert f"{overall['auroc_low']:.3f} to {overall['auroc_high']:.3f}" in page
    assert re.search(rf"{overall['n_batches']} batches,\s+{overall['n_failed']} failed", page)
    for row in evaluation.checkpoints.to_dict("records"):
        assert (
            f"<td>{row['checkpoint_h']:g} h</td><td>{row['n']}</td><td>{row['n_failed']}</td><td>{row['auroc']:.3f}</td>"
            in page
        )


def test_the_report_says_which_learner_was_chosen_by_which_figures(page, plant, trained, evaluation) -> None:
    assert "<dt>Learner</dt><dd>trees" in page
    choice = Choice("deviations", "auto", 15, 7, 0.36, 0.84, 0.12, 0.8)
    made = replace(trained, predictor=replace(trained.predictor, choice=choice))
    words = "deviations (auto asked for): AUROC of the trees 0.360, of the largest deviation 0.840, difference +0.120 to +0.800"
    assert f"<dt>Learner</dt><dd>{words}; 7 of 15 batches" in html_report(plant.process, made, evaluation)


def test_the_report_compares_the_splits_and_accounts_for_every_row(page, evaluation) -> None:
    assert evaluation.splits["auroc"].notna().all()
    for value in evaluation.splits["auroc"]:
        assert f"{value:.3f}" in page
    assert f"<b>{evaluation.excluded['rows'].sum()}</b>" in page


def test_the_report_says_that_simulated_batches_validate_nothing(page, plant, trained, evaluation) -> None:
    assert evaluation.note in page
    real = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log)
    assert "imulated" not in html_report(plant.process, trained, real)


def test_a_report_about_a_simulated_batch_is_a_verification_whatever_else_it_says(page, plant, trained) -> None:
    assert "<h1>Soup: verification on simulated data</h1>" in page
    assert "validat" not in page.replace("validate no model", "")
    real = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log)
    assert "<h1>Soup: validation report</h1>" in html_report(plant.process, trained, real)
    draft = html_report(plant.process, trained, replace(real, read_test=False))
    assert "<h1>Soup: development report</h1>" in draft
    assert "The test was not read." in draft


def test_a_report_can_be_filed_by_its_date_software_predictor_and_readings_of_the_test(
    plant, trained, evaluation
) -> None:
    imprint = Imprint(utc("2026-11-28T15:04"), "batchguard 9.9")
    signed = replace(evaluation, criteria_sha256="ab12", readings=3)
    page = html_report(plant.process, trained, signed, imprint=imprint)
    for said in ("28 November 2026, 15:04 UTC", "batchguard 9.9", f"predictor {trained.predictor.sha256}"):
        assert f"<dd>{said}</dd>" in page
    assert "<dd>read 3 times according to the ledger; acceptance criteria ab12</dd>" in page
    assert "Review and signatures" in page


def test_codes_are_shown_as_labels(rich, rich_evaluation) -> None:
    page = html_report(rich.plant.process, rich.trained, rich_evaluation, mode_labels={"hard": "Tablets too hard"})
    assert "<td>Purity</td>" in page
    assert "<td>purity</td>" not in page
    assert "<td>Tablets too hard</td>" in page
    assert "<td>Rare</td>" in page  # without a label the code in plain words
    process = rich.plant.process
    assert rule_in_words(process, "purity_pct < 90") == "Purity below 90 %"
    assert rule_in_words(process, "batch failed") == "batch failed"
    assert attribute_label(process, "low_dose") == "Low dose"


def test_every_missed_failure_stands_in_the_report_by_its_id(page, evaluation) -> None:
    assert len(evaluation.missed)
    for row in evaluation.missed.to_dict("records"):
        assert f"<td>{row['batch_id']}</td>" in page
        assert row["why"] in page


def test_no_chart_is_wider_than_a_phone(page) -> None:
    for width in re.findall(r"minmax\(([^,]*,?[^,]*?), 1fr\)", page):
        assert "100%" in width


def test_the_first_page_is_for_the_engineer_and_the_others_are_for_the_statistician(
    page, plant, trained, evaluation
) -> None:
    summary, found = summary_of(plant.process, evaluation), findings_of(trained.predictor, evaluation)
    assert len(summary) == 7  # no savings: the process has no costs
    assert all(found.values())
    where = {sentence: page.index(str(escape(sentence))) for sentence in (*summary, *found.values())}
    statistician = page.index('id="figures"')
    assert all(where[sentence] < statistician for sentence in summary)
    assert where[found["ranking"]] > statistician
    assert evaluation.absent["costs"] in page[:statistician]


def test_whatever_is_absent_is_said_in_the_report(page, evaluation) -> None:
    for name in ("costs", "subgroups", "modes", "sensors", "attributes"):
        assert name in evaluation.absent
        assert str(escape(evaluation.absent[name])) in page


def test_costs_attributes_sites_and_modes_have_their_tables_and_pictures(rich, rich_evaluation) -> None:
    process, predictor = rich.plant.process, rich.trained.predictor
    drawn = charts_of(process, predictor, rich_evaluation)
    assert {"net_cost", "first_alarms", "no_call", "support", "importance", "calibration", "by_checkpoint"} <= set(
        drawn
    )
    assert {"subgroups", "attribute_purity"} <= set(drawn)
    page = html_report(process, rich.trained, rich_evaluation)
    assert "against never acting" in page
    assert "not enough cases" in page
    assert ">nan" not in page
    tags = Tags()
    tags.feed(page)
    assert tags.open == []


def test_the_own_question_comes_first_with_both_splits() -> None:
    splits = pd.DataFrame(
        {"question": ["own", "own", "b", "b"], "split": ["random", "forward"] * 2, "auroc": [4, 3, 2, 1]}
    )
    own, other = by_question(splits)
    assert (own["question"], own["random"]["auroc"], own["forward"]["auroc"]) == ("own", 4, 3)
    assert other["question"] == "b"
    assert by_question(pd.DataFrame()) == []


def test_texts_from_outside_are_escaped(page) -> None:
    assert "&lt;b&gt;120&lt;/b&gt; batches" in page


def test_a_figure_that_cannot_be_computed_is_a_dash() -> None:
    assert figure(float("nan")) == "–"
    assert (percent(float("nan")), hours(float("nan"))) == ("–", "–")
    assert interval({"auroc": 0.5}, "auroc") == "no interval"
    assert interval({"a_low": 0.99997, "a_high": 1.0}, "a") == ">0.999 to 1.000"
    assert interval({"auroc_low": 0.123, "auroc_high": 0.567}, "auroc", as_percent=True) == "12 to 57 %"


def test_a_test_without_failures_still_gives_a_report_that_says_so(plant, trained) -> None:
    good = plant.log.assign(failed=plant.log["failed"] & ~plant.log["batch_id"].isin(trained.seal.batch_ids))
    evaluation = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, good)
    page = html_report(plant.process, trained, evaluation)
    assert "0 failed" in page
    assert "No batch of the test failed: nothing can be said of what it catches." in page
    assert "no interval" in page
    assert ">nan<" not in page
