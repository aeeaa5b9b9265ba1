import json
from collections.abc import Mapping

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from features.dictionary import Feature
from features.errors import ContractError, TrainingError
from models.learners.reference import LEAST_BATCHES, Reference, Usual, fit_reference, level_columns

NAMES = (
    "ph.last_6h.mean", "ph.last_24h.mean", "ph.since_start.last", "glucose.since_start.last", "titre.lot.value",
    "titre.since_start.last", "donor.before_start.value", "line.before_start.value", "environment.cfu.last_6h.mean", "site.now.n_known",
)  # fmt: skip


def dictionary(*names: str) -> tuple[Feature, ...]:
    parts = [name.rsplit(".", 2) for name in names]
    return tuple(Feature(name, p, p, "", w, s, "") for name, (p, w, s) in zip(names, parts, strict=True))


def snapshots(column: str, values: Mapping[float, list[float]]) -> pd.DataFrame:
    """One row per checkpoint and value; the nth value belongs to batch n."""
    rows = [(f"B{i}", float(hours), value) for hours, of in values.items() for i, value in enumerate(of)]
    return pd.DataFrame(rows, columns=["batch_id", "checkpoint_h", column]).astype({"batch_id": "str"})


def fit(values: Mapping[float, list[float]], **kwargs) -> Reference:
    frame = snapshots("g.since_start.last", values)
    ids = pd.Index(frame["batch_id"].unique())
    return fit_reference(frame, dictionary("g.since_start.last"), kwargs.pop("succeeded", ids), **kwargs)


ELEVEN = [float(i) for i in range(11)]  # median 5, MAD 3, 5 % 0.5, 95 % 9.5


def known(reference: Reference, hours: float, group: str | None = None) -> Usual:
    usual = reference.usual("g", hours, group)
    assert usual is not None
    return usual


def z_of_one(reference: Reference, level: np.ndarray, hours: float, group: str | None = None) -> np.ndarray:
    return reference.z(level[None], np.array([float(hours)]), group)[0]


def test_location_spread_and_usual_range_are_those_of_the_batches_worked_by_hand() -> None:
    reference = fit({12: ELEVEN})
    assert reference.usual("g", 12) == Usual(0.5, 5.0, 9.5, 11)
    assert z_of_one(reference, np.array([5 + 2 * 1.4826 * 3]), 12)[0] == pytest.approx(2)


def test_failed_batches_do_not_move_the_trajectory() -> None:
    frame = snapshots("g.since_start.last", {12: [*ELEVEN, 1000.0]})
    succeeded = pd.Index([f"B{i}" for i in range(11)])
    reference = fit_reference(frame, dictionary("g.since_start.last"), succeeded)
    assert reference.usual("g", 12) == Usual(0.5, 5.0, 9.5, 11)


def test_between_checkpoints_a_straight_line_and_outside_the_nearest() -> None:
    reference = fit({12: ELEVEN, 24: [x + 10 for x in ELEVEN]})
    medians = [known(reference, hours).median for hours in (0, 12, 15, 24, 90)]
    assert medians == [5, 5, 7.5, 15, 15]


def test_a_checkpoint_without_values_is_bridged_by_its_neighbours() -> None:
    nothing = [np.nan] * 11
    reference = fit({6: nothing, 12: ELEVEN, 18: nothing, 24: [x + 10 for x in ELEVEN]})
    assert [known(reference, hours).median for hours in (6, 18)] == [5, 10]


def test_too_few_batches_make_nothing_usual() -> None:
    reference = fit({12: ELEVEN[: LEAST_BATCHES - 1]})
    assert reference.usual("g", 12) is None
    assert reference.usual("unheard_of", 12) is None
    assert np.isnan(z_of_one(reference, np.array([3.0]), 12)).all()


def test_a_group_has_numbers_of_its_own_only_with_enough_batches() -> None:
    frame = {12.0: [*ELEVEN, *(x + 100 for x in ELEVEN), 7.0]}
    label = pd.Series({f"B{i}": "north" if i < 11 else "south" if i < 22 else "east" for i in range(23)})
    reference = fit(frame, groups=label, min_batches=11)
    assert reference.groups == ("", "north", "south")
    assert reference.usual("g", 12, "south") == Usual(100.5, 105.0, 109.5, 11)
    assert reference.usual("g", 12, "east") == reference.usual("g", 12, None) == reference.usual("g", 12)


def test_a_group_that_lacks_batches_at_one_checkpoint_stands_there_with_the_numbers_of_all() -> None:
    label = pd.Series({f"B{i}": "north" if i < 11 else "south" for i in range(22)})
    late = [np.nan, *ELEVEN[1:], *ELEVEN]
    reference = fit({12: ELEVEN * 2, 24: late}, groups=label, min_batches=11)
    assert known(reference, 12, "north").n == 11
    assert known(reference, 24, "north").n == 21


def test_the_spread_is_never_below_the_step_of_the_instrument() -> None:
    reference = fit({12: [1.0] * 10 + [2.0]})
    assert z_of_one(reference, np.array([3.0]), 12)[0] == pytest.approx(2)


def test_a_value_that_never_moved_makes_a_deviation_of_any_change_but_not_of_rounding() -> None:
    reference = fit({12: [100.0] * 11})
    assert z_of_one(reference, np.array([101.0]), 12)[0] == pytest.approx(1e4)
    assert abs(z_of_one(reference, np.array([100 + 1e-12]), 12)[0]) < 1e-6


def test_a_missing_value_has_no_deviation() -> None:
    frame = snapshots("g.since_start.last", {12: [*ELEVEN, np.nan]})
    reference = fit({12: ELEVEN})
    z = reference.z(reference.levels(frame), np.full(12, 12.0), None)
    assert np.isnan(z[:, 0]).tolist() == [False] * 11 + [True]


def test_the_level_is_the_shortest_window_of_a_sensor_the_newest_of_an_assay_and_never_a_room_or_a_category() -> None:
    frame = pd.DataFrame({name: [1.0] for name in NAMES}).assign(**{"line.before_start.value": "north"})
    frame["line.before_start.value"] = frame["line.before_start.value"].astype("str")
    assert level_columns(dictionary(*NAMES), frame) == {
        "donor": "donor.before_start.value",
        "glucose": "glucose.since_start.last",
        "ph": "ph.last_6h.mean",
        "titre": "titre.lot.value",
    }


def test_without_windows_the_level_of_a_sensor_is_its_newest_value() -> None:
    frame = pd.DataFrame({"ph.since_start.last": [1.0], "ph.since_start.mean": [1.0]})
    assert level_columns(dictionary(*frame.columns), frame) == {"ph": "ph.since_start.last"}


def test_it_survives_json_to_the_last_bit() -> None:
    reference = fit({12: [x / 3 for x in ELEVEN], 24: [np.nan] * 11}, groups=pd.Series({"B1": "north"}), min_batches=1)
    again = Reference.from_json(json.loads(json.dumps(reference.to_json(), allow_nan=False)))
    assert again.groups == reference.groups
    assert again.cells.tobytes() == reference.cells.tobytes()


def test_another_version_is_refused() -> None:
    with pytest.raises(ContractError, match="version 99"):
        Reference.from_json(fit({12: ELEVEN}).to_json() | {"version": 99})


def test_a_snapshot_that_lacks_a_parameter_is_refused() -> None:
    with pytest.raises(ContractError, match=r"g\.since_start\.last"):
        fit({12: ELEVEN}).levels(pd.DataFrame({"batch_id": ["B1"], "checkpoint_h": [12.0]}))


def test_nothing_is_fitted_on_no_batches() -> None:
    with pytest.raises(TrainingError, match="no successful"):
        fit({12: ELEVEN}, succeeded=pd.Index(["elsewhere"]))


number = st.floats(-1e6, 1e6, allow_nan=False) | st.just(np.nan)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(number, number), min_size=12, max_size=30),
    st.floats(0, 40),
    st.sampled_from([None, "even", "odd", "unheard of"]),
)
def test_one_row_and_many_rows_give_the_same_deviations(values, hours, group) -> None:
    label = pd.Series({f"B{i}": ("even", "odd")[i % 2] for i in range(len(values))})
    reference = fit({12: [a for a, _ in values], 24: [b for _, b in values]}, groups=label, min_batches=6)
    level = np.array([values[0][0]])
    one = z_of_one(reference, level, hours, group)
    many = reference.z(np.array([level, level]), np.array([hours, hours]), [group, None])
    assert many[0].tobytes() == one.tobytes()
    assert np.isfinite(reference.z(level[None], np.array([hours]), group)).all() == np.isfinite(one).all()
