"""Raw-material lots of a batch as of a time: failures with the lot and its supplier, how used it is, its tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from features.context.asof import HOUR, NEVER, Flags, Floats, Ints, codes, joined, known_us, micros, ranks, starts, upto
from features.context.columns import NO_CATEGORIES, Batches, ContextQuery, slug
from features.context.failures import LabelLog, Members, Records, failure_entries, label_log
from features.context.vocabulary import Vocabulary
from features.contracts import LOT_RESULTS, MATERIALS
from features.dictionary import Feature, feature
from features.process import ProcessDefinition


@dataclass(frozen=True)
class Uses:
    """Uses of lots of one material, sorted by batch, by lot, then by time; a lot may be added to a batch several times.

    Attributes:
        batch: Batch, as position in the index of batches.
        lot: Lot, as position in `names`.
        when: When the use was known: `consumed_at`, but not before the batch's start, from when on the batch is known.
        quantity: Quantity used, NaN where missing.
        unit: Code of the quantity's unit.
        again: Whether the batch had used the lot before.
        supplier: Supplier, "" where unknown.
        names: Lot ids.
    """

    batch: Ints
    lot: Ints
    when: Ints
    quantity: Floats
    unit: Ints
    again: Flags
    supplier: pd.Series
    names: pd.Index

    @classmethod
    def of(cls, materials: pd.DataFrame, batches: Batches) -> Uses:
        """Uses among the rows of one material."""
        used = materials.assign(batch=codes(materials["batch_id"], batches.index))
        used = used[used["batch"] >= 0]
        started, consumed = batches.started[used["batch"].to_numpy(dtype=np.int64)], known_us(used, MATERIALS)
        used["when"] = np.where(consumed == NEVER, started, np.maximum(consumed, started))
        used = used.sort_values(["batch", "lot_id", "when", "quantity", "unit"])
        lot, names = pd.factorize(used["lot_id"])
        return cls(
            batch=used["batch"].to_numpy(dtype=np.int64),
            lot=lot.astype(np.int64),
            when=used["when"].to_numpy(dtype=np.int64),
            quantity=used["quantity"].to_numpy(dtype=np.float64),
            unit=pd.factorize(used["unit"])[0].astype(np.int64),
            again=used.duplicated(["batch", "lot_id"]).to_numpy(dtype=np.bool_),
            supplier=used["supplier"],
            names=pd.Index(names),
        )

    def groupings(self) -> tuple[Members, Members]:
        """Batches by lot, and by supplier."""
        by_lot = Members.of(self.batch, pd.Series(self.names[self.lot]), self.when)
        return by_lot, Members.of(self.batch, self.supplier, self.when)


@dataclass(frozen=True)
class Results:
    """Results of one test on the lots of one material.

    Attributes:
        material: Place of the material.
        start: Where each lot's results begin, and the end.
        when: When each result was available, sorted within its lot.
        newest: The newest sample's result, in its highest revision, known by then.
    """

    material: int
    start: Ints
    when: Ints
    newest: Floats

    @classmethod
    def of(cls, tests: pd.DataFrame, lots: pd.Index, material: int) -> Results:
        """Results among the rows of one parameter and material."""
        lot = codes(tests["lot_id"], lots)
        known, lot = tests[lot >= 0], lot[lot >= 0]
        value, available = known["value"].to_numpy(dtype=np.float64), known_us(known, LOT_RESULTS)
        rank = ranks([micros(known["observed_at"]), known["revision"].to_numpy(), value])
        order = np.lexsort((available, lot))
        leader = np.maximum.accumulate(lot[order] * max(1, len(rank)) + rank[order]) % max(1, len(rank))
        of_rank = np.empty(len(rank))
        of_rank[rank] = value
        return cls(material, starts(lot[order], len(lots)), available[order], of_rank[leader])


@dataclass(frozen=True)
class Material:
    """Lots of one material.

    Attributes:
        uses: Their uses.
        groupings: Batches by lot, and by supplier.
        results: Their tests, in the order of the vocabulary.
    """

    uses: Uses
    groupings: tuple[Members, Members]
    results: tuple[Results, ...]

    @classmethod
    def of(
        cls, name: str, batches: Batches, materials: pd.DataFrame, lot_results: pd.DataFrame, vocabulary: Vocabulary
    ) -> Material:
        """Sort the uses of a material's lots, and their tests; rows of other materials may be among those given."""
        uses = Uses.of(materials[materials["material"] == name], batches)
        tests = lot_results[lot_results["material"] == name]
        of = tests.groupby("parameter", observed=True).indices
        place = vocabulary.materials.index(name)
        results = [
            Results.of(tests.iloc[of.get(parameter, np.empty(0, np.int64))], uses.names, place)
            for parameter, material in vocabulary.lot_tests
            if material == name
        ]
        return cls(uses, uses.groupings(), tuple(results))


@dataclass(frozen=True)
class Lots:
    """Lots of all materials: failure history of lot and supplier, use and age of the lot, its tests.

    Columns: `lot.<material>.now.{n_known,failure_excess,n_used,in_use_h}`,
    `supplier.<material>.now.{n_known,failure_excess}` and `<parameter>.lot.value` (`<parameter>.lot_<material>.value`
    where several materials are tested for it): the newest result of each lot in its highest revision available, averaged
    over the lots of a batch by quantity, or plainly where a quantity is missing, where all are 0, or where their units
    differ. `n_used` counts the other uses of the batch's lots so far, `in_use_h` the hours since the oldest of them was
    first used. NaN where no lot of the material is known to be used yet.

    Attributes:
        features: One entry per column.
        records: Outcomes by lot and by supplier of each material.
        record_columns: Column of each of them.
        use_columns: Column of `n_used` per material, `in_use_h` behind it.
        use_start: Where each batch's uses of each material begin, and the end: shape (materials, batches + 1).
        lot: Lot of each use, numbered over all materials.
        when: When each use was known.
        quantity: Quantity of each use.
        unit: Its unit.
        again: Whether the batch had used the lot before.
        lot_start: Where the uses of each lot begin, and the end, one use per batch.
        lot_when: When they were known, sorted within the lot.
        first_lot: Number of the first lot of each material.
        results: The tests.
        result_columns: Column of each test.
    """

    features: tuple[Feature, ...]
    records: Records
    record_columns: Ints
    use_columns: Ints
    use_start: Ints
    lot: Ints
    when: Ints
    quantity: Floats
    unit: Ints
    again: Flags
    lot_start: Ints
    lot_when: Ints
    first_lot: Ints
    results: tuple[Results, ...]
    result_columns: Ints
    categories = NO_CATEGORIES

    @classmethod
    def of(
        cls,
        batches: Batches,
        materials: pd.DataFrame,
        lot_results: pd.DataFrame,
        labels: pd.DataFrame,
        process: ProcessDefinition,
        vocabulary: Vocabulary,
    ) -> Lots:
        """Sort the uses of lots, and their tests."""
        sorted_ = [Material.of(name, batches, materials, lot_results, vocabulary) for name in vocabulary.materials]
        return cls.joined(sorted_, label_log(labels, batches.index), len(batches.index), process, vocabulary)

    @classmethod
    def joined(
        cls, materials: Sequence[Material], log: LabelLog, batches: int, process: ProcessDefinition,
        vocabulary: Vocabulary,
    ) -> Lots:  # fmt: skip
        """Put the materials of the vocabulary, used by a number of batches, and their outcomes together."""
        uses = [material.uses for material in materials]
        first_lot = np.cumsum([0, *(len(u.names) for u in uses)]).astype(np.int64)
        use = np.cumsum([0, *(len(u.batch) for u in uses)])
        lot = joined([u.lot + at for u, at in zip(uses, first_lot, strict=False)], np.int64)
        when = joined([u.when for u in uses], np.int64)
        again = joined([u.again for u in uses], np.bool_)
        by_lot = np.lexsort((when, lot))
        by_lot = by_lot[~again[by_lot]]
        entries = _entries(process, vocabulary)
        column_of = {
            statistic: np.array([i for i, entry in enumerate(entries) if entry.statistic == statistic], np.int64)
            for statistic in ("n_known", "n_used", "value")
        }
        first = [at + starts(u.batch, batches) for u, at in zip(uses, use, strict=False)]
        return cls(
            tuple(entries),
            Records.of([g for material in materials for g in material.groupings], log, batches),
            column_of["n_known"],
            column_of["n_used"],
            np.array(first, np.int64).reshape(len(materials), batches + 1),
            lot,
            when,
            joined([u.quantity for u in uses], np.float64),
            joined([u.unit for u in uses], np.int64),
            again,
            starts(lot[by_lot], int(first_lot[-1])),
            when[by_lot],
            first_lot,
            tuple(result for material in materials for result in material.results),
            column_of["value"],
        )

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Everything of the lots that the batches are known to use."""
        self.records.fill(query, self.record_columns, out)
        uses = (self.use_start, self.lot, self.when, self.again)
        _fill_uses(query.batch, query.as_of, *uses, self.lot_start, self.lot_when, self.use_columns, out)
        for test, column in zip(self.results, self.result_columns, strict=True):
            known = (self.use_start[test.material], self.lot, self.when, self.quantity, self.unit)
            first = self.first_lot[test.material]
            _fill_results(query.batch, query.as_of, *known, first, test.start, test.when, test.newest, column, out)


def _entries(process: ProcessDefinition, vocabulary: Vocabulary) -> list[Feature]:
    made: list[Feature] = []
    for material in vocabulary.materials:
        lot, supplier = f"lot.{slug(material)}", f"supplier.{slug(material)}"
        made += failure_entries(lot, f"Lot of {material}", of=f"the same lot of {material}")
        made += failure_entries(supplier, f"Supplier of {material}", of=f"the same supplier of {material}")
        made += _use_entries(lot, material)
        made += [_result_entry(p, m, process, vocabulary) for p, m in vocabulary.lot_tests if m == material]
    return made


def _use_entries(subject: str, material: str) -> list[Feature]:
    label, first = f"Lot of {material}", f"time since the lot of {material} was first used"
    others = f"other batches that used the lot of {material}"
    return [
        feature(subject, "now", "n_used", label=label, meaning=others),
        feature(subject, "now", "in_use_h", label=label, unit="h", meaning=first),
    ]


def _result_entry(parameter: str, material: str, process: ProcessDefinition, vocabulary: Vocabulary) -> Feature:
    known = process[parameter]
    alone = sum(p == parameter for p, _ in vocabulary.lot_tests) == 1
    window = "lot" if alone else f"lot_{slug(material)}"
    meaning = known.label if alone else f"{known.label}, lot of {material}"
    return feature(parameter, window, "value", label=known.label, unit=known.unit, meaning=meaning)


@njit(cache=True, nogil=True)
def _fill_uses(batch, as_of, use_start, lot, when, again, lot_start, lot_when, columns, out) -> None:
    for i in range(len(batch)):
        b, at = batch[i], as_of[i]
        if b < 0:
            continue
        for m in range(len(columns)):
            others, oldest, used = 0, at, False
            for u in range(use_start[m, b], use_start[m, b + 1]):
                if when[u] <= at and not again[u]:
                    first = lot_start[lot[u]]
                    # the batch's own use is known, since `when` is not later than `at`
                    others += upto(lot_when, first, lot_start[lot[u] + 1], at) - first - 1
                    oldest, used = min(oldest, lot_when[first]), True
            if used:
                out[i, columns[m]], out[i, columns[m] + 1] = others, (at - oldest) / HOUR


@njit(cache=True, nogil=True)
def _fill_results(
    batch, as_of, use_start, lot, when, quantity, unit, first_lot, start, known_when, newest, column, out
) -> None:
    for i in range(len(batch)):
        b, at = batch[i], as_of[i]
        if b < 0:
            continue
        total, number, mixed, code = 0.0, 0, False, np.int64(-1)
        for u in range(use_start[b], use_start[b + 1]):
            own = lot[u] - first_lot
            if when[u] <= at and upto(known_when, start[own], start[own + 1], at) > start[own]:
                total += quantity[u]  # NaN as soon as one is missing
                mixed |= number > 0 and unit[u] != code
                code = unit[u]
                number += 1
        if number == 0:
            continue
        plain = mixed or not total > 0
        total = float(number) if plain else total
        mean = 0.0
        for u in range(use_start[b], use_start[b + 1]):
            own = lot[u] - first_lot
            stop = upto(known_when, start[own], start[own + 1], at)
            if when[u] <= at and stop > start[own]:
                mean += (1.0 if plain else quantity[u]) / total * newest[stop - 1]
        out[i, column] = mean
