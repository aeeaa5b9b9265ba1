import pandas as pd

from models.learners.failure_modes import enough_cases, modes_before
from tests.models.plant import foresee, make_process, utc


def disposition(batch: str, outcome: str, modes: str, at: str, revision: int = 0) -> dict:
    return {"batch_id": batch, "revision": revision, "outcome": outcome, "failure_modes": modes, "decided_at": utc(at)}


ROWS = pd.DataFrame([
    disposition("A", "rejected", "M1; M2", "2026-01-01"),
    disposition("B", "rejected", "", "2026-01-01"),
    disposition("B", "rejected", "M3", "2026-02-01", 1),
    disposition("C", "rejected", "M1", "2026-01-01"),
    disposition("C", "released", "M1", "2026-02-01", 1),
    disposition("D", "released", "M4", "2026-01-01"),
])  # fmt: skip


def named(cut: str) -> set[tuple[str, str]]:
    pairs = modes_before(make_process(), ROWS, utc(cut))
    return set(zip(pairs["batch_id"], pairs["mode"], strict=True))


def test_modes_are_those_of_the_newest_disposition_known_before_the_cut() -> None:
    assert named("2026-01-01") == set()
    assert named("2026-02-01") == {("A", "M1"), ("A", "M2"), ("C", "M1")}
    assert named("2026-02-02") == {("A", "M1"), ("A", "M2"), ("B", "M3")}


def test_modes_with_enough_cases_among_the_training_failures_are_told_from_the_others() -> None:
    modes = pd.DataFrame({"batch_id": list("ABCDE"), "mode": ["y", "y", "x", "x", "y"]})
    assert enough_cases(modes, list("ABCD"), 2) == (["x", "y"], {})
    assert enough_cases(modes, list("ABC"), 2) == (["y"], {"x": 1})


def test_a_mode_below_the_minimum_is_reported_and_not_modelled(foreseen) -> None:
    (hard,) = foreseen.predictor.modes
    assert (hard.mode, hard.n_cases) == ("hard", 28)
    assert foreseen.predictor.few_cases == {"dusty": 13}


def test_a_mode_that_no_fold_knew_in_time_is_reported_and_not_modelled(foreseen_plant, foreseen) -> None:
    """Cases whose mode was named only after the last fold had begun: nothing could be calibrated on it."""
    rows = foreseen_plant.release.dispositions
    late = rows.assign(revision=1, decided_at=foreseen.seal.cut - pd.Timedelta(hours=1))
    dispositions = pd.concat([rows.assign(failure_modes=""), late[late["failure_modes"] == "hard"]])
    dispositions = dispositions[dispositions["decided_at"] < foreseen.seal.cut]
    result = foresee(foreseen_plant, dispositions=dispositions)
    assert result.predictor.modes == ()
    assert result.predictor.few_cases == {"hard": 28}
