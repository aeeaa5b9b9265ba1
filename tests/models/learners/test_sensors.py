"""Which sensors are found faulty, how it is said, and what is hidden from the score."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dictionary import Feature
from features.errors import ContractError
from models.learners.sensor_limits import Check
from models.learners.sensor_words import SensorFinding
from models.learners.sensors import SensorChecks, fit_sensor_checks

LABEL = {"ph": "pH", "flow": "Flow"}
FEATURES = tuple(
    Feature(f"{parameter}.{rest}", parameter, LABEL[parameter], unit, rest.split(".")[0], rest.split(".")[1], "")
    for parameter, rest, unit in (
        ("ph", "now.gap", "1"),
        ("ph", "now.gap_median", "1"),
        ("ph", "since_start.gap_change", "1"),
        ("ph", "last_24h.mean", "1"),
        ("flow", "now.flat_h", "h"),
        ("flow", "last_24h.spike_share", ""),
        ("flow", "since_start.last", "L/h"),
    )
)
NAMES = [f.name for f in FEATURES]
SOUND = {
    "ph.now.gap": 0.0,
    "ph.now.gap_median": 0.0,
    "ph.since_start.gap_change": 0.0,
    "ph.last_24h.mean": 7.2,
    "flow.now.flat_h": 0.0,
    "flow.last_24h.spike_share": 0.0,
    "flow.since_start.last": 3.0,
}


def history(n: int = 400, seed: int = 3) -> pd.DataFrame:
    """Sound batches at 24 and 48 h, the gap twice as wide at 48 h; one in 25 has a probe that is 0.5 off."""
    rng = np.random.default_rng(seed)
    blocks = []
    for hours, spread in ((24.0, 0.02), (48.0, 0.04)):
        block = pd.DataFrame({name: np.full(n, value) for name, value in SOUND.items()})
        block["ph.now.gap_median"] = rng.normal(0.01, spread, n) + np.where(np.arange(n) % 25 == 0, 0.5, 0.0)
        block["ph.since_start.gap_change"] = rng.normal(0.0, spread, n)
        block["flow.now.flat_h"] = rng.choice([0.0, 1.0, 3.0], n, p=[0.8, 0.1, 0.1])
        block["flow.last_24h.spike_share"] = rng.choice([0.0, 0.08], n, p=[0.9, 0.1])
        blocks.append(block.assign(checkpoint_h=hours, batch_id=[f"B{i}" for i in range(n)]))
    return pd.concat(blocks, ignore_index=True)


HISTORY = history()
CHECKS = fit_sensor_checks(HISTORY, FEATURES, pd.Index([f"B{i}" for i in range(400)]))


def snapshot(hours: float = 24.0, **changed: float) -> pd.DataFrame:
    names = {name.replace(".", "_"): name for name in NAMES}
    values = SOUND | {names[key]: value for key, value in changed.items()}
    return pd.DataFrame([values | {"batch_id": "X", "checkpoint_h": hours}])


def signs(checks: SensorChecks, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return frame[[c.feature for c in checks.checks]].to_numpy(float), frame["checkpoint_h"].to_numpy(float)


def findings(checks: SensorChecks, frame: pd.DataFrame) -> list[tuple[SensorFinding, ...]]:
    return checks.findings_at(*signs(checks, frame))


def masked(checks: SensorChecks, frame: pd.DataFrame) -> pd.DataFrame:
    hidden = checks.faulty(*signs(checks, frame)) @ checks.hides(NAMES)
    return frame.assign(**frame[NAMES].mask(hidden))


def check(statistic: str) -> Check:
    return next(c for c in CHECKS.checks if c.statistic == statistic)


def test_limits_of_a_gap_are_those_of_sound_probes_though_some_of_the_batches_had_a_bad_one() -> None:
    fitted = history()
    sound = fitted[(fitted["ph.now.gap_median"] < 0.3) & (fitted["checkpoint_h"] == 24.0)]
    alone = fit_sensor_checks(sound, FEATURES, pd.Index(sound["batch_id"]))
    low, high = alone.checks[0].limits(np.array([24.0]))
    assert high[0] == pytest.approx(0.01 + 3.89 * 0.02, abs=0.015)  # 3.89: beyond it lies one sound probe in 10 000
    assert low[0] == pytest.approx(0.01 - 3.89 * 0.02, abs=0.015)
    with_bad = fit_sensor_checks(fitted[fitted["checkpoint_h"] == 24.0], FEATURES, pd.Index(fitted["batch_id"]))
    assert with_bad.checks[0].high[0] == pytest.approx(high[0], abs=0.01)


def test_only_successful_training_batches_are_read() -> None:
    few = fit_sensor_checks(HISTORY, FEATURES, pd.Index([f"B{i}" for i in range(100)]))
    other = HISTORY.assign(**{"ph.now.gap_median": np.where(HISTORY["batch_id"].str[1:].astype(int) < 100,
                                                            HISTORY["ph.now.gap_median"], 99.0)})  # fmt: skip
    assert fit_sensor_checks(other, FEATURES, pd.Index([f"B{i}" for i in range(100)])) == few


def test_a_stage_with_too_few_batches_has_no_limit_of_its_own_and_a_sensor_without_any_is_not_checked() -> None:
    thin = HISTORY[(HISTORY["checkpoint_h"] == 24.0) | (HISTORY["batch_id"].isin([f"B{i}" for i in range(49)]))]
    fitted = fit_sensor_checks(thin, FEATURES, pd.Index([f"B{i}" for i in range(400)]))
    assert all(c.hours == (24.0,) for c in fitted.checks)
    none = fit_sensor_checks(HISTORY, FEATURES, pd.Index([f"B{i}" for i in range(49)]))
    assert none.checks == ()
    assert findings(none, snapshot(ph_now_gap_median=9.0)) == [()]
    pd.testing.assert_frame_equal(masked(none, snapshot()), snapshot())


def test_between_stages_limits_are_interpolated_and_beyond_them_the_outer_ones_hold() -> None:
    gap = check("gap_median")
    _, high = gap.limits(np.array([0.0, 24.0, 36.0, 48.0, 999.0]))
    assert high[2] == pytest.approx((high[1] + high[3]) / 2)
    assert (high[0], high[4]) == (high[1], high[3])


def test_a_drifting_probe_is_named_with_what_was_seen_and_what_is_usual() -> None:
    within = max(abs(limit[0]) for limit in check("gap_median").limits(np.array([24.0])))
    (finding,) = findings(CHECKS, snapshot(ph_now_gap_median=0.4))[0]
    assert (finding.parameter, finding.kind, finding.value) == ("ph", "drifting", 0.4)
    expected = (
        f"pH: the signal in line reads 0.4 above the off-line result (usual within {within:.2g}): the probe drifts"
    )
    assert finding.sentence == expected
    assert "reads 0.4 below the off-line" in findings(CHECKS, snapshot(ph_now_gap_median=-0.4))[0][0].sentence


def test_a_gap_that_moved_is_named_once_beside_a_gap_that_is_wide() -> None:
    (moved,) = findings(CHECKS, snapshot(ph_since_start_gap_change=-0.4))[0]
    assert "has moved 0.4 down against the off-line result since the first samples" in moved.sentence
    (both,) = findings(CHECKS, snapshot(ph_now_gap_median=0.4, ph_since_start_gap_change=0.4))[0]
    assert "reads 0.4 above" in both.sentence


def test_a_stuck_and_a_spiking_signal_are_named_beyond_what_that_sensor_usually_shows() -> None:
    assert findings(CHECKS, snapshot(flow_now_flat_h=3.0, flow_last_24h_spike_share=0.08)) == [()]
    stuck, spiking = findings(CHECKS, snapshot(flow_now_flat_h=7.5, flow_last_24h_spike_share=0.25))[0]
    assert stuck.sentence == "Flow has not changed for 7.5 h (usual at most 3 h): the signal is stuck"
    assert spiking.sentence == "Flow spikes in 25 % of the hours (usual at most 8 %): the signal is disturbed"
    assert (stuck.kind, spiking.kind) == ("flat-lined", "spiking")
    assert stuck.usual_low is None


def test_a_quiet_gap_or_a_single_spike_is_no_fault_even_where_the_training_batches_had_none() -> None:
    calm = HISTORY.assign(**{"flow.now.flat_h": 0.0, "flow.last_24h.spike_share": 0.0})
    fitted = fit_sensor_checks(calm, FEATURES, pd.Index([f"B{i}" for i in range(400)]))
    assert findings(fitted, snapshot(flow_now_flat_h=2.0, flow_last_24h_spike_share=1 / 22)) == [()]
    assert len(findings(fitted, snapshot(flow_now_flat_h=2.5, flow_last_24h_spike_share=2 / 22))[0]) == 2


def test_all_windows_of_a_faulty_sensor_are_hidden_and_nothing_else() -> None:
    frame = pd.concat([snapshot(ph_now_gap_median=0.4), snapshot()], ignore_index=True)
    before = frame.copy()
    hidden = masked(CHECKS, frame)
    assert hidden.loc[0, [n for n in NAMES if n.startswith("ph.")]].isna().all()
    assert hidden.loc[0, [n for n in NAMES if n.startswith("flow.")]].tolist() == [0.0, 0.0, 3.0]
    pd.testing.assert_frame_equal(hidden.iloc[1:], frame.iloc[1:])
    pd.testing.assert_frame_equal(frame, before)


def test_trees_are_trained_with_every_sensor_missing_in_some_batches_whatever_the_order_of_the_rows() -> None:
    ids = HISTORY["batch_id"].to_numpy(str)
    hidden = CHECKS.also_hidden(ids, share=0.1)
    assert hidden.mean(axis=0) == pytest.approx([0.1, 0.1], abs=0.05)
    by_batch = pd.DataFrame(hidden).groupby(ids).mean()
    assert set(np.unique(by_batch)) == {0.0, 1.0}  # a batch is hidden as a whole
    assert (hidden[:, 0] != hidden[:, 1]).any()
    np.testing.assert_array_equal(CHECKS.also_hidden(ids[::-1], share=0.1)[::-1], hidden)
    assert not CHECKS.also_hidden(ids, share=0.0).any()
    assert CHECKS.also_hidden(ids[:0]).shape == (0, 2)


def test_a_process_fault_that_the_off_line_result_confirms_stays_in_the_score() -> None:
    acid = snapshot(ph_last_24h_mean=6.6, ph_now_gap_median=0.01, ph_since_start_gap_change=0.0)
    assert findings(CHECKS, acid) == [()]
    assert masked(CHECKS, acid)["ph.last_24h.mean"][0] == 6.6


def test_what_is_not_known_is_no_finding() -> None:
    unknown = snapshot(ph_now_gap_median=np.nan, ph_since_start_gap_change=np.nan, flow_now_flat_h=np.nan)
    assert findings(CHECKS, unknown) == [()]


def test_no_snapshots_are_no_findings() -> None:
    nothing = snapshot().iloc[:0]
    assert findings(CHECKS, nothing) == []
    pd.testing.assert_frame_equal(masked(CHECKS, nothing), nothing)


def test_checks_survive_being_json_and_another_version_is_refused() -> None:
    data = json.loads(json.dumps(CHECKS.to_json(), allow_nan=False))
    assert SensorChecks.from_json(data) == CHECKS
    with pytest.raises(ContractError, match="version 99"):
        SensorChecks.from_json(data | {"version": 99})


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 9), st.floats(0, 60)), min_size=1, max_size=8))
def test_a_row_alone_hides_what_it_hides_among_others(rows) -> None:
    frame = pd.concat(
        [snapshot(hours, ph_now_gap_median=gap, flow_now_flat_h=flat) for gap, flat, hours in rows], ignore_index=True
    )
    for i in range(len(rows)):
        pd.testing.assert_frame_equal(masked(CHECKS, frame.iloc[[i]]), masked(CHECKS, frame).iloc[[i]])
