import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import TrainingError
from models.cohort.folds import Fold, forward_folds, most_folds
from models.cohort.splits import subject_groups
from tests.models.cohort.test_splits import NO_GROUPS, batches, outcomes
from tests.models.plant import labels, utc


def folds_of(text: str, *, delay_days: int = 0, at_most: int = 4) -> tuple[Fold, ...]:
    """Folds of a history of one batch a day, by its outcomes."""
    runs = batches(*[1] * len(text))
    runs["started_at"] += pd.to_timedelta(range(len(text)), unit="D")
    log = outcomes(text, delay_days=delay_days)
    return most_folds(runs, log, pd.Index(runs["batch_id"]), groups=NO_GROUPS, at_most=at_most)


def letters(text: str, ids: tuple[str, ...]) -> str:
    return "".join(text[int(batch[1:])] for batch in ids)


def test_folds_go_forward_in_time() -> None:
    runs = batches(*range(1, 11))
    folds = forward_folds(runs, outcomes("fgfgfgfgfg"), pd.Index(runs["batch_id"]), groups=NO_GROUPS, n_folds=3)
    assert [fold.validation for fold in folds] == [("B4", "B5"), ("B6", "B7"), ("B8", "B9")]
    assert [len(fold.train) for fold in folds] == [4, 6, 8]


def test_a_fold_of_one_class_is_named() -> None:
    runs = batches(*range(1, 11))
    with pytest.raises(TrainingError, match="fold 2 of 3: no failures among the 2 validation batches"):
        forward_folds(runs, outcomes("fgfgfgggfg"), pd.Index(runs["batch_id"]), groups=NO_GROUPS, n_folds=3)


def test_fewer_folds_are_taken_where_more_would_hold_one_class_only() -> None:
    assert len(folds_of("fgfgfgggfg")) == 2


def test_outcomes_that_alternate_give_blocks_of_equal_size() -> None:
    folds = folds_of("fg" * 10)
    assert [len(fold.validation) for fold in folds] == [3, 3, 3, 3]
    assert folds[0].cut == utc("2026-01-09")  # 40 % of 20 batches are never validated


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        # failures early, three of them: two are known before batch 4, the third is batch 4
        ("fgfgfggggggggggggggggggg", [("fgfg", "fggggggggggggggggggg")]),
        # failures late, four of them: two on either side of batch 19
        ("ggggggggggggggggfgfgfgfg", [("ggggggggggggggggfgf", "gfg"), ("ggggggggggggggggfgfgfg", "fg")]),
        # one success in the first 40 %: the cut moves on until a second one is known
        (
            "fgffffffffffffffgffffgfffffg",
            [("fgffffffffffffffg", "ffffgfff"), ("fgffffffffffffffgffffgfff", "ffg")],
        ),
        # all failures in a few days
        ("ggggggggfgffgfggggggggggg", [("ggggggggfgf", "fg"), ("ggggggggfgffg", "fggggggggggg")]),
    ],
)
def test_folds_adapt_to_where_the_outcomes_lie(text, sides) -> None:
    assert [(letters(text, fold.train), letters(text, fold.validation)) for fold in folds_of(text)] == sides


@pytest.mark.parametrize(
    ("text", "delay_days"),
    [
        ("fffffffgffffffff", 0),  # one success: it cannot be known and still to come
        ("ggggggfgggggggg", 0),  # one failure
        ("ffffffgggggggggg", 0),  # no success was known while failures still came
        ("gggggggfgfgfgggg", 7),  # the first failure was decided after the last one had started
    ],
)
def test_outcomes_that_no_moment_divides_are_refused_with_a_remedy_of_the_command_line(text, delay_days) -> None:
    with pytest.raises(TrainingError) as refused:
        folds_of(text, delay_days=delay_days)
    assert "at no time were a failure and a success known and both still to come" in refused.value.what
    assert "--history" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_first_block_that_knows_one_success_is_not_taken() -> None:
    """45 weeks: 40 % of them, 18 batches, hold one success."""
    text = "fffffffffffffffgfffffgggggfgffffgfffggggggfgf"
    for fold in folds_of(text, at_most=4):
        assert letters(text, fold.train).count("g") >= 2


@given(st.text("fg", min_size=2, max_size=28), st.integers(0, 6))
@settings(max_examples=150, deadline=None)
def test_every_history_that_a_moment_divides_gives_folds_with_both_classes_on_both_sides(text, delay_days) -> None:
    def divided(day: int) -> bool:
        before, after = text[: max(day - delay_days, 0)], text[day:]
        return all(letter in side for letter in "fg" for side in (before, after))

    try:
        folds = folds_of(text, delay_days=delay_days)
    except TrainingError:
        assert not any(divided(day) for day in range(1, len(text)))
        return
    for fold in folds:
        assert set(letters(text, fold.train)) == set(letters(text, fold.validation)) == {"f", "g"}


history = st.lists(
    st.tuples(st.integers(1, 25), st.integers(0, 6), st.sampled_from(["", "p", "q", "r"]), st.booleans()),
    min_size=8,
    max_size=30,
)


@given(rows=history)
@settings(max_examples=60, deadline=None)
def test_no_fold_trains_on_the_unknown_or_on_a_subject_it_validates(rows) -> None:
    runs = batches(*(day for day, _, _, _ in rows), subjects="").assign(
        subject_key=pd.array([s for _, _, s, _ in rows], dtype="str")
    )
    log = labels(
        *[
            (f"B{i}", failed, utc("2026-01-01") + pd.Timedelta(days=day - 1 + delay))
            for i, (day, delay, _, failed) in enumerate(rows)
        ]
    )
    try:
        folds = forward_folds(runs, log, pd.Index(runs["batch_id"]), groups=subject_groups(runs), n_folds=2)
    except TrainingError:
        return
    started = runs.set_index("batch_id")["started_at"]
    subject = runs.set_index("batch_id")["subject_key"]
    known = log.set_index("batch_id")["label_available_at"]
    for fold in folds:
        assert started[list(fold.validation)].min() == fold.cut
        assert (known[list(fold.train)] < fold.cut).all()
        assert not set(fold.train) & set(fold.validation)
        assert not (set(subject[list(fold.train)]) & set(subject[list(fold.validation)])) - {""}
