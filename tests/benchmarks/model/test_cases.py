from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks.model.cases import LOST, affected_in_training, cases, observable_by

END = pd.Timestamp("2026-01-10", tz="UTC")


def fault(batch, mode, outcome, without, affected="ph", first=None) -> dict[str, object]:
    return {
        "batch_id": batch,
        "mode": mode,
        "outcome": outcome,
        "counterfactual_outcome": without,
        "affected_parameters": affected,
        "first_observable_at": first,
    }


FAULTS = [
    fault("A", "M8", "rejected", "released", "perfusion_vvd;ph", END - pd.Timedelta(hours=48)),
    fault("A", "M12", "rejected", "rejected"),
    fault("B", "M3", "released_oos", "released", "car_pct_d5", END - pd.Timedelta(hours=10)),
    fault("C", "M11", "rejected", "released_oos"),
    fault("D", "M12", "released", "released"),
    fault("E", "none", "terminated", "terminated"),
    fault("F", "M12", "released", "released"),
    fault("F", "M1", "released", "released"),
]


@pytest.fixture
def ground() -> SimpleNamespace:
    ids = tuple("ABCDEFG")
    outcomes = {f["batch_id"]: f["outcome"] for f in FAULTS} | {"G": "released"}
    dispositions = pd.DataFrame({"batch_id": list(outcomes), "revision": 0, "outcome": list(outcomes.values())})
    truth = pd.DataFrame(FAULTS)
    truth["first_observable_at"] = pd.to_datetime(truth["first_observable_at"], utc=True)
    return SimpleNamespace(
        process=SimpleNamespace(outcome=SimpleNamespace(failed=["rejected", "terminated", "released_oos"])),
        plant=SimpleNamespace(table=lambda _: dispositions),
        seal=SimpleNamespace(batch_ids=ids),
        truth=truth,
        train=pd.Series(True, index=["A", "B"]),
        end_at=pd.Series(END, index=list(ids)),
    )


def test_a_failure_is_observable_by_the_fault_without_which_the_batch_passes(ground) -> None:
    known = cases(ground)
    assert known["failed"].to_dict() == {"A": True, "B": True, "C": True, "D": False, "E": True, "F": False, "G": False}
    assert known.index[known["observable"]].tolist() == ["A", "B"]
    assert known["mode"].to_dict() == {"A": "M8", "B": "M3", "C": "none", "D": "", "E": "none", "F": "", "G": ""}
    assert known.loc["A", "affected"] == ("perfusion_vvd", "ph")


def test_in_the_strict_reading_a_supplied_batch_is_good(ground) -> None:
    known = cases(ground, LOST)
    assert known.index[known["failed"]].tolist() == ["A", "C", "E"]
    assert known["mode"].to_dict() == {"A": "M8", "B": "", "C": "M11", "D": "", "E": "none", "F": "", "G": ""}


def test_a_drifting_probe_counts_only_where_it_is_alone_and_the_batch_is_good(ground) -> None:
    known = cases(ground)
    assert known.index[known["only_m12"]].tolist() == ["D"]


def test_a_fault_that_shows_exactly_48_h_ahead_is_in_time(ground) -> None:
    known = cases(ground)
    assert observable_by(known, ahead_h=48)[["A", "B", "E"]].tolist() == [True, False, False]
    assert observable_by(known, ahead_h=0)[["A", "B", "E"]].tolist() == [True, True, False]


def test_parameters_are_counted_over_training_failures(ground) -> None:
    assert affected_in_training(ground).to_dict() == {"perfusion_vvd": 1, "ph": 1, "car_pct_d5": 1}
