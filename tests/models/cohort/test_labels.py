import pandas as pd
import pytest

from models.cohort.labels import label_log, labels_as_of
from tests.models.plant import make_process, utc

TIMES = ["2026-01-05", "2026-01-09", "2026-01-20"]


def dispositions(*rows: tuple[str, int, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["batch_id", "revision", "outcome", "decided_at"])
    frame["decided_at"] = pd.to_datetime(frame["decided_at"], utc=True).astype("datetime64[us, UTC]")
    return frame.astype({"batch_id": "str", "revision": "int32", "outcome": "str"})


def results(*rows: tuple[str, str, int, str, float, str]) -> pd.DataFrame:
    names = ["batch_id", "observed_at", "revision", "available_at", "value", "quality"]
    frame = pd.DataFrame(rows, columns=names).assign(parameter="purity_pct")
    for name in ("observed_at", "available_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    return frame.astype({"batch_id": "str", "quality": "str", "parameter": "str"})


def test_each_revision_of_a_disposition_is_a_label_of_its_time() -> None:
    log = label_log(make_process(), dispositions(("A", 0, "released", TIMES[0]), ("A", 1, "rejected", TIMES[1])))
    assert log["failed"].tolist() == [False, True]
    assert log["revision"].tolist() == [0, 1]
    assert not labels_as_of(log, utc("2026-01-08")).loc["A", "failed"]
    assert labels_as_of(log, utc("2026-01-09")).loc["A", "failed"]
    assert labels_as_of(log, utc("2026-01-04")).empty


def test_a_revision_that_arrives_late_does_not_undo_a_newer_one() -> None:
    log = label_log(make_process(), dispositions(("A", 1, "rejected", TIMES[0]), ("A", 0, "released", TIMES[1])))
    assert log["failed"].tolist() == [True]


def test_a_cancelled_batch_is_censored_and_never_failed() -> None:
    log = label_log(make_process(), dispositions(("A", 0, "cancelled", TIMES[0]), ("B", 0, "terminated", TIMES[0])))
    assert log.set_index("batch_id")[["failed", "censored"]].to_dict("index") == {
        "A": {"failed": False, "censored": True},
        "B": {"failed": True, "censored": False},
    }


def test_a_rule_labels_a_batch_when_its_result_becomes_available() -> None:
    process = make_process(label_from="rule", label_rule="purity_pct < 97")
    observed = results(
        ("A", TIMES[0], 0, TIMES[1], 96.9, "good"),
        ("B", TIMES[0], 0, TIMES[1], 97.0, "good"),
        ("C", TIMES[0], 0, TIMES[1], 10.0, "bad"),
    )
    log = label_log(process, dispositions(), observed)
    assert log.set_index("batch_id")["failed"].to_dict() == {"A": True, "B": False}
    assert set(log["label_available_at"]) == {utc(TIMES[1])}


def test_a_corrected_result_changes_the_label_from_its_own_time_on() -> None:
    process = make_process(label_from="rule", label_rule="purity_pct < 97")
    observed = results(("A", TIMES[0], 0, TIMES[0], 96.0, "good"), ("A", TIMES[0], 1, TIMES[2], 98.0, "good"))
    log = label_log(process, dispositions(), observed)
    assert labels_as_of(log, utc(TIMES[1])).loc["A", "failed"]
    assert not labels_as_of(log).loc["A", "failed"]
    assert labels_as_of(log).loc["A", "first_available_at"] == utc(TIMES[0])


def test_a_cancellation_censors_a_batch_that_already_had_a_result() -> None:
    process = make_process(label_from="rule", label_rule="purity_pct < 97")
    observed = results(("A", TIMES[0], 0, TIMES[0], 96.0, "good"))
    log = label_log(process, dispositions(("A", 0, "cancelled", TIMES[1])), observed)
    assert log[["failed", "censored"]].to_numpy().tolist() == [[True, False], [False, True]]


def test_a_release_says_nothing_where_a_rule_decides() -> None:
    process = make_process(label_from="rule", label_rule="purity_pct < 97")
    assert label_log(process, dispositions(("A", 0, "rejected", TIMES[0])), results()).empty


def test_a_rule_without_observations_is_a_mistake_of_the_caller() -> None:
    process = make_process(label_from="rule", label_rule="purity_pct < 97")
    with pytest.raises(ValueError, match="needs observations"):
        label_log(process, dispositions())


def test_a_result_that_was_taken_back_is_no_label_until_there_is_another() -> None:
    process = make_process(label_from="rule", label_rule="purity_pct < 97")
    observed = results(
        ("A", TIMES[0], 0, TIMES[0], 50.0, "good"),
        ("A", TIMES[0], 1, TIMES[1], 50.0, "bad"),
        ("A", TIMES[0], 2, TIMES[2], 98.0, "good"),
    )
    log = label_log(process, dispositions(), observed)
    assert log["censored"].tolist() == [False, True, False]
    assert labels_as_of(log, utc(TIMES[0])).loc["A", "failed"]
    assert not labels_as_of(log, utc(TIMES[2])).loc["A", "failed"]
