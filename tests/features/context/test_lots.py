import numpy as np
import pandas as pd
import pytest

from features.context.columns import Batches, block
from features.context.lots import Lots
from features.context.vocabulary import vocabulary
from tests.features.context.plant import PROCESS, labels, snapshots, tables


def lot_block(history, log, *asked, process=PROCESS) -> pd.DataFrame:
    history = tables(lot_results=[]) | history
    rows = snapshots(history["batches"], *asked)
    words, batches = vocabulary(history, process), Batches.of(history["batches"])
    made = block(
        Lots.of(batches, history["materials"], history["lot_results"], log, process, words), rows, batches.index
    )
    assert list(made.values.columns) == [f.name for f in made.features]
    return made.values


FOUR = [{"batch_id": f"b{i}", "started_at": 10 * i} for i in range(4)]
ONE_LOT = [{"batch_id": f"b{i}", "material": "API", "lot_id": "L1", "supplier": "S"} for i in range(4)]


def test_a_failure_counts_for_its_lot_only_once_its_label_is_available() -> None:
    history = tables(batches=FOUR, materials=ONE_LOT)
    log = labels(("b0", 0, True, 35), ("b1", 0, False, 36))
    found = lot_block(history, log, ("b3", 4.9), ("b3", 5), ("b3", 6))
    assert found["lot.api.now.n_known"].tolist() == [0, 1, 2]
    # (failed - known * overall) / (known + 10), the overall rate being that of the same moment
    assert np.isnan(found["lot.api.now.failure_excess"][0])
    assert found["lot.api.now.failure_excess"][1:].tolist() == [(1 - 1 * 1.0) / 11, (1 - 2 * 0.5) / 12]


def test_the_excess_of_a_lot_is_drawn_towards_nothing() -> None:
    materials = [*ONE_LOT[:1], {"batch_id": "b1", "material": "API", "lot_id": "L2"}, *ONE_LOT[2:]]
    log = labels(("b0", 0, True, 20), ("b1", 0, False, 20))
    found = lot_block(tables(batches=FOUR, materials=materials), log, ("b3", 0))
    assert found["lot.api.now.n_known"].tolist() == [1]
    assert found["lot.api.now.failure_excess"].tolist() == [(1 - 1 * 0.5) / 11]


def test_a_correction_counts_from_its_own_time_only() -> None:
    history = tables(batches=FOUR, materials=ONE_LOT)
    log = labels(("b0", 0, False, 31), ("b0", 1, True, 35), ("b1", 0, False, 31))
    found = lot_block(history, log, ("b3", 4.99), ("b3", 5))
    assert found["lot.api.now.failure_excess"].tolist() == [0.0, (1 - 2 * 0.5) / 12]
    assert found["lot.api.now.n_known"].tolist() == [2, 2]


def test_an_old_revision_that_arrives_after_its_correction_changes_nothing() -> None:
    history = tables(batches=FOUR, materials=ONE_LOT)
    found = lot_block(history, labels(("b0", 1, False, 31), ("b0", 0, True, 33)), ("b3", 9))
    assert found["lot.api.now.failure_excess"].tolist() == [0.0]


def test_a_censored_batch_is_no_known_batch_and_a_correction_to_censored_takes_it_back() -> None:
    history = tables(batches=FOUR, materials=ONE_LOT)
    log = labels(("b0", 0, False, 30, True), ("b1", 0, True, 31), ("b1", 1, False, 33, True))
    found = lot_block(history, log, ("b3", 2), ("b3", 3))
    assert found["lot.api.now.n_known"].tolist() == [1, 0]
    assert np.isnan(found["lot.api.now.failure_excess"][1])


def test_a_batch_does_not_count_for_itself() -> None:
    history = tables(batches=FOUR, materials=ONE_LOT)
    found = lot_block(history, labels(("b3", 0, True, 31), ("b0", 0, False, 31)), ("b3", 5), ("b2", 15))
    assert found["lot.api.now.n_known"].tolist() == [1, 2]
    assert found["lot.api.now.failure_excess"].tolist() == [0.0, (1 - 2 * 0.5) / 12]


def test_a_lot_counts_from_when_it_was_consumed() -> None:
    materials = [*ONE_LOT[:3], ONE_LOT[3] | {"consumed_at": 34}]
    found = lot_block(tables(batches=FOUR, materials=materials), labels(("b0", 0, True, 20)), ("b3", 3.9), ("b3", 4))
    for name in ("n_known", "failure_excess", "n_used", "in_use_h"):
        assert found[f"lot.api.now.{name}"].isna().tolist() == [True, False], name


def test_a_known_failure_counts_for_a_lot_only_once_the_failed_batch_is_known_to_have_used_it() -> None:
    materials = [ONE_LOT[0] | {"consumed_at": 32}, ONE_LOT[3]]
    found = lot_block(tables(batches=FOUR, materials=materials), labels(("b0", 0, True, 20)), ("b3", 1), ("b3", 2))
    assert found["lot.api.now.n_known"].tolist() == [0, 1]


def test_suppliers_pool_their_lots_and_an_empty_supplier_is_unknown() -> None:
    materials = [
        {"batch_id": "b0", "material": "API", "lot_id": "L1", "supplier": "S"},
        {"batch_id": "b1", "material": "API", "lot_id": "L2", "supplier": ""},
        {"batch_id": "b2", "material": "API", "lot_id": "L3", "supplier": "S"},
        {"batch_id": "b3", "material": "API", "lot_id": "L4", "supplier": ""},
    ]
    log = labels(("b0", 0, True, 5), ("b1", 0, False, 5))
    found = lot_block(tables(batches=FOUR, materials=materials), log, ("b2", 0), ("b3", 0))
    assert found["lot.api.now.n_known"].tolist() == [0, 0]
    assert found["supplier.api.now.n_known"].tolist()[0] == 1
    assert found["supplier.api.now.failure_excess"].isna().tolist() == [False, True]


def test_use_and_age_of_a_lot_count_other_batches_from_its_first_use() -> None:
    found = lot_block(tables(batches=FOUR, materials=ONE_LOT), labels(), ("b0", 0), ("b2", 5), ("b0", 100))
    assert found["lot.api.now.n_used"].tolist() == [0, 2, 3]
    assert found["lot.api.now.in_use_h"].tolist() == [0, 25, 100]


TESTED = [
    {"lot_id": "L1", "material": "API", "parameter": "titre", "observed_at": -50, "available_at": 31, "value": 4.0},
    {"lot_id": "L1", "material": "API", "parameter": "titre", "observed_at": -50, "available_at": 33, "value": 6.0,
     "revision": 1},
    {"lot_id": "L2", "material": "API", "parameter": "titre", "observed_at": -50, "value": 10.0},
    {"lot_id": "L2", "material": "API", "parameter": "secret", "observed_at": -50, "value": 1.0},
]  # fmt: skip


def test_a_lot_test_is_seen_when_it_is_available_and_its_revision_later() -> None:
    history = tables(batches=FOUR, materials=ONE_LOT, lot_results=TESTED)
    found = lot_block(history, labels(), ("b3", 0.9), ("b3", 1), ("b3", 3))
    assert found["titre.lot.value"].tolist()[1:] == [4.0, 6.0]
    assert np.isnan(found["titre.lot.value"][0])
    assert not any(name.startswith("secret") for name in found)


@pytest.mark.parametrize(
    ("quantities", "units", "expected"),
    [((3, 1), ("kg", "kg"), 7.0), ((3, None), ("kg", "kg"), 8.0), ((3, 1), ("kg", "g"), 8.0), ((0, 0), ("", ""), 8.0)],
)
def test_several_lots_are_weighted_by_quantity_where_that_is_known(quantities, units, expected) -> None:
    materials = [
        {"batch_id": "b3", "material": "API", "lot_id": lot, "quantity": q, "unit": u}
        for lot, q, u in zip(("L1", "L2"), quantities, units, strict=True)
    ]
    found = lot_block(tables(batches=FOUR, materials=materials, lot_results=TESTED), labels(), ("b3", 5))
    assert found["titre.lot.value"].tolist() == [expected]


def test_a_parameter_tested_on_two_materials_is_never_averaged_over_them() -> None:
    materials = [{"batch_id": "b3", "material": m, "lot_id": f"L{m}"} for m in ("API", "Starch")]
    tests = [
        {"lot_id": f"L{m}", "material": m, "parameter": "water_pct", "observed_at": 0, "value": v}
        for m, v in (("API", 1.0), ("Starch", 9.0))
    ]
    found = lot_block(tables(batches=FOUR, materials=materials, lot_results=tests), labels(), ("b3", 0))
    assert found["water_pct.lot_api.value"].tolist() == [1.0]
    assert found["water_pct.lot_starch.value"].tolist() == [9.0]


def test_the_newest_sample_of_a_lot_counts_not_the_newest_report() -> None:
    tests = [
        {"lot_id": "L1", "material": "API", "parameter": "titre", "observed_at": 2, "available_at": 3, "value": 2.0},
        {"lot_id": "L1", "material": "API", "parameter": "titre", "observed_at": 1, "available_at": 9, "value": 1.0},
    ]
    found = lot_block(tables(batches=FOUR, materials=ONE_LOT, lot_results=tests), labels(), ("b3", 0))
    assert found["titre.lot.value"].tolist() == [2.0]


def test_a_lot_that_fails_more_often_than_the_others_has_an_excess() -> None:
    materials = [*ONE_LOT[:1], {"batch_id": "b1", "material": "API", "lot_id": "L2"}, *ONE_LOT[2:]]
    log = labels(("b0", 0, True, 20), ("b1", 0, False, 20), ("b2", 0, True, 20))
    found = lot_block(tables(batches=FOUR, materials=materials), log, ("b3", 0))
    assert found["lot.api.now.failure_excess"].tolist() == [(2 - 2 * (2 / 3)) / 12]


def test_a_lot_added_to_a_batch_twice_is_one_use_and_counts_with_its_whole_quantity() -> None:
    once = [
        {"batch_id": "b0", "material": "API", "lot_id": "L1", "quantity": 1.0, "unit": "L", "consumed_at": 1},
        {"batch_id": "b1", "material": "API", "lot_id": "L1", "quantity": 1.0, "unit": "L", "consumed_at": 11},
        {"batch_id": "b1", "material": "API", "lot_id": "L2", "quantity": 2.0, "unit": "L", "consumed_at": 11},
    ]
    again = {"batch_id": "b1", "material": "API", "lot_id": "L1", "quantity": 5.0, "unit": "L", "consumed_at": 13}
    results = [
        {"lot_id": lot, "material": "API", "parameter": "titre", "observed_at": -9, "value": value}
        for lot, value in (("L1", 10.0), ("L2", 40.0))
    ]
    history = tables(batches=FOUR, materials=[*once, again], lot_results=results)
    found = lot_block(history, labels(), ("b1", 2), ("b1", 4))
    assert found["lot.api.now.n_used"].tolist() == [1, 1]  # b0 alone, whatever b1 adds
    assert found["titre.lot.value"].tolist() == pytest.approx([(1 * 10 + 2 * 40) / 3, (6 * 10 + 2 * 40) / 8])
