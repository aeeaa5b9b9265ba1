import json

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from features.dictionary import Feature
from models.learners.deviations import (
    FAR_SHARE,
    LARGEST,
    TYPICAL,
    Deviations,
    behind,
    fit_deviations,
    out_of_fold,
    summaries,
)

NAMES = (
    "ph.last_6h.mean",
    "ph.since_start.mean",
    "ph.since_start.sd",
    "temp.since_start.last",
    "donor.before_start.value",
)


def dictionary() -> tuple[Feature, ...]:
    parts = [name.split(".") for name in NAMES]
    return tuple(Feature(name, p, p, "", w, s, "") for name, (p, w, s) in zip(NAMES, parts, strict=True))


def snapshots(n: int = 11) -> pd.DataFrame:
    """Batch i has i everywhere: median 5, spread 1.4826 * 3."""
    values = {name: np.arange(n, dtype=float) for name in NAMES}
    return pd.DataFrame({"batch_id": [f"B{i}" for i in range(n)], "checkpoint_h": 12.0, **values})


def batches(*numbers: int) -> pd.Index:
    return pd.Index([f"B{i}" for i in numbers], dtype="str")


def test_the_summaries_of_known_distances_are_those_worked_by_hand() -> None:
    distance = np.array([[np.e - 1, 5.0, 0.0, np.nan]])
    largest, share, typical = summaries(distance)[0]
    assert largest == pytest.approx(np.log(6))
    assert share == pytest.approx(1 / 3)
    assert typical == pytest.approx((1 + np.log(6)) / 3)


def test_a_batch_of_which_nothing_is_known_has_no_summaries() -> None:
    assert np.isnan(summaries(np.full((2, 3), np.nan))).all()


def test_a_parameter_counts_by_the_view_that_is_farthest_from_usual() -> None:
    deviations = fit_deviations(snapshots(), dictionary(), batches(*range(11)))
    assert sorted(set(deviations.owners)) == ["donor", "ph", "temp"]
    one = snapshots(1).assign(**dict.fromkeys(NAMES, 5.0))
    one["ph.since_start.mean"] = 5 + 6 * 1.4826 * 3  # what has passed is remembered
    made = deviations.of(one).iloc[0]
    assert made[LARGEST] == pytest.approx(np.log(7))
    assert made[FAR_SHARE] == pytest.approx(1 / 3)
    assert made[TYPICAL] == pytest.approx(np.log(7) / 3)


def test_parameters_that_are_far_carry_their_share_alike_and_the_typical_distance_in_proportion() -> None:
    shares = behind(np.array([[np.e - 1, np.expm1(2.0), np.expm1(3.0), np.nan]]))
    assert shares[LARGEST][0].tolist() == [0, 0, 1, 0]
    assert shares[FAR_SHARE][0].tolist() == [0, 0.5, 0.5, 0]
    assert shares[TYPICAL][0] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 0])


def test_where_nothing_strays_the_parameters_known_carry_it_alike() -> None:
    for share in behind(np.array([[0.0, 0.0, np.nan]])).values():
        assert share[0].tolist() == [0.5, 0.5, 0.0]


def test_where_nothing_is_known_all_parameters_carry_it_alike() -> None:
    for share in behind(np.full((1, 4), np.nan)).values():
        assert share[0].tolist() == [0.25] * 4


def test_a_training_batch_is_scored_by_trajectories_it_had_no_part_in() -> None:
    frame = snapshots(60)
    odd = frame.assign(**{name: frame[name].where(frame["batch_id"] != "B7", 1e6) for name in NAMES})
    failed = pd.Series(False, index=batches(*range(60)))
    rest = frame["batch_id"] != "B7"
    changed = ~np.isclose(out_of_fold(odd, dictionary(), failed), out_of_fold(frame, dictionary(), failed)).all(axis=1)
    same_part = frame["batch_id"].isin(batches(2, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57))
    assert not (changed & same_part & rest).any()  # B7 is in none of their trajectories
    others = fit_deviations(frame, dictionary(), failed.index[np.arange(60) % 5 != 2])
    made = out_of_fold(odd, dictionary(), failed)
    assert made.loc[7].tolist() == others.of(odd[odd["batch_id"] == "B7"]).iloc[0].tolist()


def test_failed_batches_are_scored_but_shape_no_trajectory() -> None:
    frame, failed = snapshots(60), pd.Series(False, index=batches(*range(60)))
    failed["B59"] = True
    wild = frame.assign(**{name: frame[name].where(frame["batch_id"] != "B59", 1e6) for name in NAMES})
    quiet, loud = (out_of_fold(f, dictionary(), failed) for f in (frame, wild))
    pd.testing.assert_frame_equal(quiet.drop(index=59), loud.drop(index=59))
    assert loud.loc[59, LARGEST] > quiet.loc[59, LARGEST]


def test_it_survives_json() -> None:
    deviations = fit_deviations(snapshots(), dictionary(), batches(*range(11)))
    again = Deviations.from_json(json.loads(json.dumps(deviations.to_json(), allow_nan=False)))
    frame = snapshots(20)
    pd.testing.assert_frame_equal(again.of(frame), deviations.of(frame), check_exact=True)


distances = st.lists(st.lists(st.floats(0, 1e9) | st.just(np.nan), min_size=3, max_size=3), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(distances)
def test_what_stands_behind_a_summary_is_never_negative_and_sums_to_one(rows) -> None:
    for share in behind(np.array(rows)).values():
        assert (share >= 0).all()
        assert share.sum(axis=1) == pytest.approx(1.0)
