"""What must hold for every plant: the context of a batch is what was known at that time, and nothing else."""

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.context import context, vocabulary
from features.dictionary import join
from tests.features.context.plant import PROCESS, at, labels, snapshots, tables

BATCHES = [f"b{i}" for i in range(5)]
batch, hour = st.sampled_from(BATCHES), st.integers(-3, 40)
later = st.none() | hour
amount = st.floats(0.1, 9, allow_subnormal=False)
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def table(max_size=8, unique=(), **columns) -> st.SearchStrategy[list[dict]]:
    return st.lists(st.fixed_dictionaries(columns), max_size=max_size, unique_by=lambda r: tuple(r[k] for k in unique))


def available(rows, *, since) -> list[dict]:
    """Nothing is available before it was observed."""
    return [r | {"available_at": r[since] + (r["available_at"] or 0)} for r in rows]


delay = st.none() | st.integers(0, 20)


@st.composite
def plants(draw) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """A small plant in which everything happens within two days, so that most things happen at the same time."""
    name = st.sampled_from
    batches = [
        {"batch_id": b, "started_at": draw(st.integers(0, 30)), "planned_end_at": draw(st.none() | st.integers(31, 60)),
         "site_id": draw(name("ns")), "equipment_id": draw(name(["", "e"])), "subject_key": draw(name(["", "p", "q"])),
         "donor_age": draw(st.none() | amount)}
        for b in BATCHES
    ]  # fmt: skip
    materials = draw(table(12, ("batch_id", "material", "lot_id"), batch_id=batch, material=name(["m1", "m2"]),
        lot_id=name(["L1", "L2", "L3"]), supplier=name(["", "s", "t"]), quantity=st.none() | amount,
        unit=name(["", "kg"]), consumed_at=later))  # fmt: skip
    events = draw(table(12, ("batch_id", "kind", "code", "started_at"), batch_id=batch, started_at=hour,
        kind=name(["phase", "deviation"]), code=name(["grow", "wash"]), ended_at=delay, available_at=delay,
        severity=name(["", "major"]), person_key=name(["", "ann", "bob"])))  # fmt: skip
    events = [e | {"ended_at": None if e["ended_at"] is None else e["started_at"] + e["ended_at"]} for e in events]
    tests = draw(table(12, ("lot_id", "material", "parameter", "observed_at", "revision"),
        lot_id=name(["L1", "L2", "L3"]), material=name(["m1", "m2"]), parameter=name(["titre", "water_pct"]),
        observed_at=hour, available_at=delay, revision=st.integers(0, 1), value=amount))  # fmt: skip
    air = draw(table(12, ("site_id", "area_id", "metric", "observed_at"), site_id=name("ns"), area_id=name("xy"),
        metric=name(["cfu", "dust"]), observed_at=hour, available_at=delay, value=amount))  # fmt: skip
    log = draw(table(8, ("batch_id", "revision"), batch_id=batch, revision=st.integers(0, 2), failed=st.booleans(),
        hours=st.integers(0, 40), censored=st.booleans()))  # fmt: skip
    start = {b["batch_id"]: b["started_at"] for b in batches}
    history = tables(batches=batches, materials=materials, events=available(events, since="started_at"),
                     lot_results=available(tests, since="observed_at"),
                     environment=available(air, since="observed_at"))  # fmt: skip
    log = labels(*(
        (r["batch_id"], r["revision"], r["failed"], start[r["batch_id"]] + r["hours"], r["censored"]) for r in log
    ))  # fmt: skip
    return history, log


def everything(rows, history, log, words) -> pd.DataFrame:
    return join(rows, context(rows, history, log, PROCESS, words))[0]


def rows_of(history) -> pd.DataFrame:
    return snapshots(history["batches"], *((b, h) for b in BATCHES for h in (0, 7, 25)))


def known_at(history, log, moment) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """The history as a clerk could have written it down at a moment."""
    cut = {
        "batches": history["batches"].query("started_at <= @moment"),
        "materials": history["materials"].query("consumed_at.isna() or consumed_at <= @moment"),
        "events": history["events"].query("available_at <= @moment and started_at <= @moment"),
        "lot_results": history["lot_results"].query("available_at <= @moment"),
        "environment": history["environment"].query("available_at <= @moment"),
    }
    ended = cut["events"]["ended_at"].where(cut["events"]["ended_at"] <= moment)
    return cut | {"events": cut["events"].assign(ended_at=ended)}, log.query("label_available_at <= @moment")


@few
@given(plants(), st.integers(0, 60))
def test_the_context_of_a_time_is_made_from_what_was_known_at_that_time_alone(plant, hours) -> None:
    history, log = plant
    words, moment = vocabulary(history, PROCESS), at(hours)
    rows = rows_of(history).query("as_of <= @moment")
    then, log_then = known_at(history, log, moment)
    pd.testing.assert_frame_equal(
        everything(rows, history, log, words), everything(rows, then, log_then, words), check_exact=True
    )


@few
@given(plants(), st.randoms(use_true_random=False))
def test_order_and_repetition_of_the_input_change_no_bit(plant, chance) -> None:
    history, log = plant
    words = vocabulary(history, PROCESS)
    rows = rows_of(history)

    def shuffled(found) -> pd.DataFrame:
        places = [*range(len(found)), *(i for i in range(len(found)) if chance.random() < 0.5)]
        chance.shuffle(places)
        return found.iloc[places].reset_index(drop=True)

    mixed = {name: shuffled(found) for name, found in history.items()}
    assert vocabulary(mixed, PROCESS) == words
    pd.testing.assert_frame_equal(
        everything(rows, history, log, words), everything(rows, mixed, shuffled(log), words), check_exact=True
    )


@few
@given(plants(), st.sets(st.integers(0, 14)))
def test_rows_asked_for_apart_get_the_same_cells_as_together(plant, places) -> None:
    history, log = plant
    words, rows = vocabulary(history, PROCESS), rows_of(history)
    some = rows.iloc[sorted(places, reverse=True)]
    together = everything(rows, history, log, words).loc[some.index]
    pd.testing.assert_frame_equal(everything(some, history, log, words), together, check_exact=True)


@few
@given(plants(), st.integers(0, 60), st.booleans())
def test_a_disposition_that_arrives_later_never_changes_an_earlier_snapshot(plant, hours, failed) -> None:
    history, log = plant
    words = vocabulary(history, PROCESS)
    rows = rows_of(history).query("as_of < @moment", local_dict={"moment": at(hours)})
    more = labels(*((b, 9, failed, hours, False) for b in BATCHES))
    pd.testing.assert_frame_equal(
        everything(rows, history, log, words),
        everything(rows, history, pd.concat([log, more], ignore_index=True), words),
        check_exact=True,
    )


def test_an_empty_history_gives_the_columns_of_the_recipe_without_values() -> None:
    history = tables(batches=[{"batch_id": "b0", "started_at": 0}])
    rows = snapshots(history["batches"], ("b0", 0), ("b0", 50))
    blocks = context(rows, history, labels(), PROCESS)
    found, features = join(rows, blocks)
    assert found.loc[:, found.columns.str.startswith("phase")].isna().all(axis=None)
    assert {f.name for f in features} == set(found.columns) - set(rows.columns)
    assert not any("date" in f.name or "as_of" in f.name for f in features)


@pytest.mark.parametrize("column", ["started_at", "as_of"])
def test_the_calendar_date_is_no_feature(column) -> None:
    """Moving the whole plant by a year changes nothing."""
    history = tables(
        batches=[{"batch_id": f"b{i}", "started_at": 10 * i, "equipment_id": "e"} for i in range(4)],
        materials=[{"batch_id": f"b{i}", "material": "m", "lot_id": "L"} for i in range(4)],
        environment=[{"site_id": "unknown", "metric": "cfu", "observed_at": 3, "value": 1}],
    )
    log = labels(("b0", 0, True, 12))
    rows = snapshots(history["batches"], ("b1", 5), ("b3", 5))
    year = pd.Timedelta(days=365)

    def moved(found) -> pd.DataFrame:
        times = found.select_dtypes("datetimetz").columns
        return found.assign(**{c: (found[c] + year).astype("datetime64[us, UTC]") for c in times})

    words = vocabulary(history, PROCESS)
    before = everything(rows, history, log, words).drop(columns=["started_at", "as_of"])
    after = everything(moved(rows), {k: moved(v) for k, v in history.items()}, moved(log), words)
    assert (after[column] != rows[column]).all()
    pd.testing.assert_frame_equal(before, after.drop(columns=["started_at", "as_of"]), check_exact=True)
