"""What a run prints: the batches in progress first, in lines of 80 columns that break between words."""

import io
import re
from datetime import UTC, datetime

import pandas as pd
import pytest
from rich.console import Console

from models.learners.applicability.domain import Finding
from models.scoring.score import Model, Score
from pipelines.console import first_names, score_lines, show, show_scores, some
from pipelines.plant import Plant
from pipelines.progress import DOING, in_tenths
from pipelines.report import rows_in_words
from pipelines.result import newest_scores, result_of
from pipelines.text_lines import wrapped

SCORE = Score(
    version=2, batch_id="B1", as_of=datetime(2026, 1, 2, tzinfo=UTC), elapsed_h=30.2, failure_probability=0.434,
    base_probability=0.1, interval=[0.218, 0.609], call="none yet",
    call_cause="both outcomes possible", support="limited", support_causes=["too much missing", "stale data"],
    decision="undecided", cause="too much missing; stale data; both outcomes possible", possible=[], modes={}, attributes=[], reasons=[], missing=[f"assay_{i}" for i in range(10)],
    stale={"ph": 30.4, "glucose_mm": 26.0}, sensors=[], domain=[], data_sha256="", process_version="1",
    model=Model("p", "1", "", "unreviewed", "p", "", ""),
)  # fmt: skip


def printed(score: Score, width: int = 80, **labels: str) -> list[str]:
    return [line for line, _ in score_lines([score], labels, width)]


def test_a_batch_has_its_call_risk_interval_hours_and_support_in_one_line() -> None:
    _, head, line, *_ = printed(SCORE)
    assert head == "batch  call        risk  90 % interval   hours  support"
    assert line == "B1     none yet     43%  22% to 61%         30  limited"


def test_why_there_is_no_call_yet_and_why_the_support_is_limited_stand_on_lines_of_their_own() -> None:
    assert printed(SCORE)[3:5] == [
        "    - no call yet because: both outcomes possible",
        "    - support limited: too much missing; stale data",
    ]


def test_a_high_call_without_support_is_a_high_call() -> None:
    new = {"call": "high", "call_cause": None, "support": "none", "decision": "undecided"}
    (line, style), support, *_ = list(score_lines([SCORE.model_copy(update=new)], {}, 80))[2:]
    assert (line.split()[1], line.split()[-1], style) == ("high", "none", "bold red")
    assert support[0] == "    - support none: too much missing; stale data"


def test_a_subgroup_with_few_batches_says_how_many_are_missing() -> None:
    sentence = "Site 'north': 12 batches with a known outcome when the model was trained, 20 are needed, 8 are missing"
    finding = Finding("unsupported subgroup", "support", ("site",), 12.0, 20.0, None, sentence)
    lines = printed(SCORE.model_copy(update={"support_causes": ["unsupported subgroup"], "domain": [finding]}), 120)
    assert sentence in " ".join(" ".join(lines).split())


def test_a_score_of_version_1_shows_its_decision_and_no_support() -> None:
    former = {"call": None, "call_cause": None, "support": None, "support_causes": None, "cause": "stale data"}
    _, _, line, cause, *_ = printed(SCORE.model_copy(update=former))
    assert (line.split()[1], line.split()[-1]) == ("undecided", "-")
    assert cause == "    - undecided because: stale data"


def test_missing_values_are_named_three_and_the_others_counted() -> None:
    assert "    - no value yet: Viability; assay_1; assay_2 and 7 more" in printed(SCORE, assay_0="Viability")


def test_old_values_are_named_with_their_age() -> None:
    assert "    - older than usual: pH 30 h; glucose_mm 26 h" in printed(SCORE, ph="pH")


@pytest.mark.parametrize(
    ("names", "words"),
    [(["a"], "a"), (["a", "b", "c"], "a; b; c"), (["a", "b", "c", "d"], "a; b; c and 1 more")],
)  # fmt: skip
def test_up_to_three_names_are_not_counted(names, words) -> None:
    assert first_names(names) == words


@pytest.mark.parametrize(("share", "word"), [(0.0, "0%"), (0.001, "<1%"), (0.999, ">99%"), (1.0, "100%")])
def test_what_is_not_certain_is_not_printed_as_certain(share, word) -> None:
    assert printed(SCORE.model_copy(update={"failure_probability": share, "call": "high"}))[2].split()[2] == word


def test_a_long_batch_id_has_a_line_of_its_own_and_is_not_cut() -> None:
    name = "PLANT-NORTH/LINE-2/ORDER-0000123456/BATCH-000987"
    lines = printed(SCORE.model_copy(update={"batch_id": name}))
    assert name in lines
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("width", [60, 80])
def test_a_sentence_breaks_between_words_only(width) -> None:
    cause = " ".join(["glucose-in-line,", "0.000845", "mmol/L/h", "(usual", "0.639-1.17)"] * 9)
    lines = printed(SCORE.model_copy(update={"call_cause": cause}), width)
    assert all(len(line) <= width for line in lines)
    assert " ".join(" ".join(lines).split()).count(cause) == 1


def as_printed(plant: Plant, width: int, what=show) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, soft_wrap=True, highlight=False)
    what(*([result_of(plant)] if what is show else []), plant, console)
    return file.getvalue()


def test_the_batches_come_before_every_statistic(ran) -> None:
    text = as_printed(Plant(ran.place.settings()), 80)
    places = [text.index(word) for word in ("in progress as of", "B119", "Test: ", "random split", "report  ")]
    assert places == sorted(places)


def test_no_line_is_longer_than_80_columns_and_no_word_is_cut(ran) -> None:
    plant = Plant(ran.place.settings())
    text = as_printed(plant, 80)
    lines = [line for line in text.splitlines() if str(plant.report_path) not in line]  # a path stays whole
    assert max(map(len, lines)) <= 80
    whole = " ".join(re.sub(r"^    - ", "", line, flags=re.MULTILINE) for line in text.split("\n"))
    sentences = [reason.sentence for score in newest_scores(plant) for reason in (score.reasons or [])[:3]]
    assert len(sentences) >= 3
    assert all(sentence in " ".join(whole.split()) for sentence in sentences)


def test_the_command_line_prints_the_same_lines_and_none_is_longer_than_100(ran) -> None:
    text = as_printed(Plant(ran.place.settings()), 140, show_scores)
    assert text in ran.first.output
    assert max(len(line) for line in text.splitlines()) <= 100


def test_repetitions_are_counted_apart_from_broken_rows() -> None:
    words = "10 rows read: 6 kept, 3 exact repetitions left out, 1 broken rows quarantined"
    assert rows_in_words(10, 6, 3, 0, quarantined=4) == words


def test_a_run_counts_a_repeated_row_as_a_repetition(clone, run) -> None:
    rows = clone.read("observations")
    clone.replace("observations", rows.iloc[[*range(len(rows)), 0, 1]])
    result = run("score", *clone.options(), "--as-of", "history")
    assert result.exit_code == 0, result.output
    assert "2 exact repetitions left out, 0 broken rows quarantined" in " ".join(result.output.split())


def test_every_step_is_announced_with_its_number_before_it_starts(ran) -> None:
    steps = re.findall(r" s  step (\d+) of (\d+): (.+)", ran.first.output)
    assert [(int(n), of) for n, of, _ in steps] == [(n + 1, "11") for n in range(11)]
    assert sorted(words for *_, words in steps) == sorted(DOING.values())


def test_models_and_months_are_counted(ran) -> None:
    output = ran.first.output
    for line in ("model 1 of 4", "model 4 of 4", "models: 4 of 4", "months summarised: 1 of 6", "rows read"):
        assert line in output
    assert output.index("model 4 of 4") < output.index("fitting the predictor") < output.index("step 9 of 11")


@pytest.mark.parametrize(
    ("of", "lines"),
    [(4, [1, 2, 3, 4]), (12, [*range(1, 13)]), (36, [*range(4, 37, 4)]), (13, [2, 4, 6, 8, 10, 12, 13])],
)
def test_few_units_have_a_line_each_and_many_about_ten(of, lines) -> None:
    said: list[str] = []
    report = in_tenths(said.append)
    for done in range(1, of + 1):
        report("tuning", done, of)
    assert said == [f"tuning: {done} of {of}" for done in lines]


def test_many_checkpoints_are_shown_by_eight_with_the_first_and_the_last() -> None:
    rows = [{"checkpoint_h": 6 * i} for i in range(1, 37)]
    assert [row["checkpoint_h"] for row in some(rows)] == [6, 36, 66, 96, 126, 156, 186, 216]
    assert some(rows[:3]) == rows[:3]


def test_a_path_stays_whole() -> None:
    path = "/" + "a-b/" * 40
    assert wrapped(f"report {path}", 80, following="  ") == ["report", f"  {path}"]


def test_a_plant_without_a_batch_in_progress_says_so(clone, run) -> None:
    dispositions = clone.read("dispositions")
    running = clone.read("batches").query("batch_id in ('B117', 'B118', 'B119')")
    decided = (pd.to_datetime(running["started_at"]) + pd.Timedelta(hours=2)).map(pd.Timestamp.isoformat)
    rest = dispositions.iloc[[-1] * 3].assign(batch_id=running["batch_id"].tolist(), decided_at=decided.tolist())
    clone.replace("dispositions", pd.concat([dispositions, rest]))
    result = run("score", *clone.options(), "--as-of", "history")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("\nNo batch is in progress: every one has a disposition or a label.\n")
