import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.plan import BatchPlan
from pipelines.simulator.samples import sample_rows
from pipelines.simulator.sensors import LONGEST_GAP_H, US_H, Readings, _changed, sensor_rows
from pipelines.simulator.settings import stream
from pipelines.simulator.signals import CODE, SENSORS, stored, stored_one


@pytest.fixture(scope="module")
def batch(plant) -> BatchPlan:
    return next(b for b in plant.batches if b.outcome.outcome == "released" and not b.faults)


@pytest.fixture(scope="module")
def minute_rows(batch) -> Readings:
    return sensor_rows(batch, batch.course(record_every=1), 1.0, {}, stream(9, 1))


def test_the_historian_stores_changes_beyond_the_deadband_and_long_gaps() -> None:
    value, quality = np.array([1.0, 1.05, 1.2, 1.2, 1.2, 1.2]), np.array([0, 0, 0, 1, 1, 1], np.int8)
    grid = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    kept = _changed(value, quality, grid, 0.1, 2.0)
    assert kept.tolist() == [True, False, True, True, False, True]


def test_sensor_noise_is_as_specified(batch, minute_rows) -> None:
    course = batch.course(record_every=1)
    for signal in SENSORS:
        if signal.name not in ("temperature_c", "o2_pct", "co2_pct"):
            continue
        mine = minute_rows.take(np.flatnonzero(minute_rows.code == CODE[signal.name]))
        hour = (mine.observed / US_H - batch.start) * 10.0
        truth = np.interp(hour, np.arange(len(course)), course[:, CHANNEL[signal.name]])
        spread = np.subtract(*np.percentile(mine.value - truth, [75, 25])) / 1.349
        assert signal.noise < spread < 2.2 * signal.noise  # the deadband keeps the outer readings


def test_a_value_is_never_available_before_it_was_observed_and_a_few_come_late(minute_rows) -> None:
    delay_s = (minute_rows.available - minute_rows.observed) / 1e6
    assert delay_s.min() > 0
    assert 0.005 < (delay_s > 260).mean() < 0.015


def test_rows_come_twice_word_for_word_and_out_of_order(minute_rows) -> None:
    frame = pd.DataFrame(vars(minute_rows))
    twice = frame.duplicated(keep="first")
    assert 0.005 < twice.mean() < 0.015
    assert not frame[~twice].duplicated(["code", "observed", "revision"]).any()
    ph = frame[frame["code"] == CODE["ph"]]
    assert (ph["observed"].diff() < 0).any()


def test_gaps_are_short_except_for_dropouts(minute_rows) -> None:
    for signal in SENSORS:
        observed = np.unique(minute_rows.observed[minute_rows.code == CODE[signal.name]]) / US_H
        assert np.diff(observed).max() < LONGEST_GAP_H + 2.0 + 0.1


def test_all_disturbances_occur_somewhere(plant) -> None:
    rng, seen = stream(4, 4), {"bad": 0, "uncertain": 0}
    for b in plant.batches[:60]:
        rows = sensor_rows(b, b.course(record_every=1), 5.0, {}, rng)
        seen["bad"] += int((rows.quality == 2).sum())
        seen["uncertain"] += int((rows.quality == 1).sum())
    assert seen["bad"] > 3
    assert seen["uncertain"] > 50


def test_a_drifting_probe_leaves_the_off_line_value(plant) -> None:
    b = next(
        b
        for b in plant.batches
        if b.outcome.stop_h == 216 and any(f.probe == "ph" and f.onset_h < 100 for f in b.faults)
    )
    fault = next(f for f in b.faults if f.probe == "ph")
    rows = sensor_rows(b, b.course(record_every=1), 10.0, {}, stream(4, 5))
    late = rows.take(np.flatnonzero((rows.code == CODE["ph"]) & (rows.observed > (b.start + 210.0) * US_H)))
    truth = b.course()[213, CHANNEL["ph"]]
    assert np.median(late.value) - truth == pytest.approx(
        fault.severity / 24.0 * (213.0 - fault.onset_h), rel=0.2, abs=0.03
    )


def test_corrections_come_later_with_the_next_revision(plant) -> None:
    found = 0
    for k, b in enumerate(plant.batches[:150]):
        rows = pd.DataFrame(vars(sample_rows(b, b.course(record_every=1), stream(6, k))[0])).drop_duplicates()
        for _, both in rows.groupby(["code", "observed"]):
            if len(both) > 1:
                both = both.sort_values("revision")
                assert both["revision"].tolist() == [0, 1]
                assert both["available"].is_monotonic_increasing
                found += 1
    assert found > 50


def test_worry_takes_more_samples(plant) -> None:
    counts = {True: [], False: []}
    for k, b in enumerate(x for x in plant.batches if x.outcome.stop_h == 216.0):
        if k < 400:
            sick = b.course()[100:210, CHANNEL["lactate_mm"]].max() > 25.0
            counts[sick].append(len(sample_rows(b, b.course(record_every=1), stream(7, k))[1]))
    assert len(counts[True]) > 10
    assert np.mean(counts[True]) > np.mean(counts[False]) + 1.0


def test_stored_values_keep_to_range_and_resolution() -> None:
    assert stored("viability_pct", np.array([101.7, 93.26, -4.0])).tolist() == [100.0, 93.3, 0.0]
    for name, value in (
        ("viability_pct", 93.25),
        ("ph", 7.255),
        ("glucose_mm", -1.0),
        ("do_pct", 250.0),
        ("vector_titre_tu_ml", 3.21049e7),
    ):
        assert stored_one(name, value) == stored(name, np.array([value]))[0]
    assert stored("vector_titre_tu_ml", np.array([3.21049e7])).tolist() == [3.21e7]


def test_the_first_half_day_does_not_tell_the_outcome_by_its_rows(plant) -> None:
    rows = {True: [], False: []}
    failed = [b for b in plant.batches if b.outcome.failed]
    passed = [b for b in plant.batches if b.outcome.outcome == "released"][: 2 * len(failed)]
    for k, b in enumerate([*failed, *passed]):
        readings = sensor_rows(b, b.course(record_every=1), 15.0, {}, stream(8, k))
        rows[b.outcome.failed].append(int((readings.observed < (b.start + 12.0) * US_H).sum()))
    assert mannwhitneyu(rows[True], rows[False]).pvalue > 0.01
