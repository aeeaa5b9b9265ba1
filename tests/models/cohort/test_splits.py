import json

import pandas as pd
import pytest

from features.errors import TrainingError
from models.cohort.labels import labels_as_of
from models.cohort.splits import (
    Seal,
    enough_failures,
    known_before,
    nothing_sealed,
    seal_of,
    seal_test,
    struck_lot_groups,
    subject_groups,
)
from tests.models.plant import labels, utc

NO_GROUPS = pd.DataFrame({"batch_id": pd.Series(dtype="str"), "group": pd.Series(dtype="str")})


def batches(*days: int, subjects: str = "") -> pd.DataFrame:
    started = pd.to_datetime([f"2026-01-{day:02d}" for day in days], utc=True).astype("datetime64[us, UTC]")
    keys = list(subjects) if subjects else [""] * len(days)
    ids = pd.array([f"B{i}" for i in range(len(days))], dtype="str")
    return pd.DataFrame({"batch_id": ids, "started_at": started, "subject_key": pd.array(keys, dtype="str")})


def outcomes(text: str, *, delay_days: int = 0) -> pd.DataFrame:
    """Outcomes by letter: f failed, g good; batch i started on day i + 1."""
    rows = [
        (f"B{i}", x == "f", utc("2026-01-01") + pd.Timedelta(days=i + delay_days, hours=1)) for i, x in enumerate(text)
    ]
    return labels(*rows)


def test_the_newest_quarter_of_batches_with_an_outcome_is_sealed() -> None:
    log = labels(*[(f"B{i}", False, "2026-02-01") for i in range(8)], ("B8", False, "2026-02-01", True))
    seal = seal_test(batches(1, 2, 3, 4, 5, 6, 7, 8, 9), log, process_id="soup")
    assert seal.batch_ids == ("B6", "B7")
    assert seal.cut == utc("2026-01-07")


def test_batches_that_start_at_the_moment_of_the_cut_all_go_to_the_test() -> None:
    log = labels(*[(f"B{i}", False, "2026-02-01") for i in range(4)])
    assert seal_test(batches(1, 2, 3, 3), log, process_id="soup").batch_ids == ("B2", "B3")


def test_labels_do_not_move_the_seal() -> None:
    good = seal_test(batches(1, 2, 3, 4), outcomes("gggg"), process_id="soup")
    assert seal_test(batches(1, 2, 3, 4), outcomes("ffff"), process_id="soup") == good


def test_an_edited_seal_is_refused(tmp_path) -> None:
    seal = seal_test(batches(1, 2, 3, 4), outcomes("gggg"), process_id="soup")
    seal.save(tmp_path / "seal.json")
    assert Seal.load(tmp_path / "seal.json") == seal
    data = json.loads((tmp_path / "seal.json").read_text())
    (tmp_path / "seal.json").write_text(json.dumps(data | {"batch_ids": ["B0"]}))
    with pytest.raises(TrainingError, match="was changed"):
        Seal.load(tmp_path / "seal.json")


def test_no_batches_with_an_outcome_is_one_clear_line() -> None:
    with pytest.raises(TrainingError, match="soup: 0 batches have an outcome"):
        seal_test(batches(1, 2), labels(), process_id="soup")


def test_a_label_that_comes_after_the_cut_does_not_train() -> None:
    log = outcomes("gfg", delay_days=1)
    known = known_before(batches(1, 2, 3), log, utc("2026-01-03"), away_from=("B2",), groups=NO_GROUPS)
    assert known.to_dict() == {"B0": False}


def test_a_label_trains_as_it_was_known_at_the_cut() -> None:
    log = labels(("B0", True, "2026-01-02"), ("B0", False, "2026-01-20", False, 1))
    assert known_before(batches(1, 9), log, utc("2026-01-09"), away_from=("B1",), groups=NO_GROUPS).to_dict() == {
        "B0": True
    }


def test_batches_of_a_tested_subject_do_not_train() -> None:
    runs = batches(1, 2, 3, subjects="xyx")
    known = known_before(runs, outcomes("ggg"), utc("2026-01-03"), away_from=("B2",), groups=subject_groups(runs))
    assert known.index.tolist() == ["B1"]


def test_batches_without_a_subject_share_none() -> None:
    assert subject_groups(batches(1, 2)).empty


def test_a_lot_behind_two_failures_is_struck() -> None:
    materials = pd.DataFrame(
        {"batch_id": ["B0", "B1", "B2", "B0"], "material": "api", "lot_id": ["L1", "L1", "L2", "L2"]}
    ).astype("str")
    assert struck_lot_groups(materials, outcomes("ffg")).to_numpy().tolist() == [
        ["B0", "lot:api:L1"],
        ["B1", "lot:api:L1"],
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gggg", "none of 4 batches failed"),
        ("fggg", "only 1 of 4 batches failed"),
        ("ffff", "only 0 of 4 batches succeeded"),
    ],
)
def test_too_few_of_a_class_is_one_clear_line(text, says) -> None:
    failed = labels_as_of(outcomes(text))["failed"]
    with pytest.raises(TrainingError, match=says):
        enough_failures(failed, at_least=2, where="soup")


def test_a_test_of_some_failures_is_the_fewest_newest_batches_that_hold_them() -> None:
    seal = seal_test(batches(1, 2, 3, 4, 5, 6, 7), outcomes("fgfgfgg"), process_id="soup", failures=2)
    assert seal.batch_ids == ("B2", "B3", "B4", "B5", "B6")
    assert seal.cut == utc("2026-01-03")


def test_a_test_of_more_failures_than_there_are_holds_all_of_them() -> None:
    assert seal_test(batches(1, 2, 3, 4), outcomes("gfgf"), process_id="soup", failures=9).batch_ids == (
        "B1",
        "B2",
        "B3",
    )


def test_a_test_of_failures_where_nothing_failed_is_the_newest_share() -> None:
    some, share = (seal_test(batches(1, 2, 3, 4), outcomes("gggg"), process_id="soup", failures=n) for n in (3, None))
    assert some == share


def test_batches_that_start_with_the_last_failure_counted_go_to_the_test_with_it() -> None:
    assert seal_test(batches(1, 2, 3, 3), outcomes("gggf"), process_id="soup", failures=1).batch_ids == ("B2", "B3")


def test_the_digest_of_a_seal_tells_process_cut_and_batches_apart() -> None:
    cut = utc("2026-01-03")
    seals = [
        seal_of("soup", cut, ("a", "b")), seal_of("stew", cut, ("a", "b")), seal_of("soup", utc("2026-01-04"), ("a", "b")),
        seal_of("soup", cut, ("b", "a")), seal_of("soup", cut, ("a",)), nothing_sealed("soup", cut),
    ]  # fmt: skip
    assert len({seal.sha256 for seal in seals}) == len(seals)
    assert seal_of("soup", cut, ("a", "b")) == seals[0]
    assert nothing_sealed("soup", cut).batch_ids == ()
