"""Raw-material lots of a batch as of a time: failures with the lot and its supplier, how used it is, its tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.context.asof import HOUR, NEVER, Floats, Ints, Timeline, codes, matches, micros, ranks
from features.context.columns import Cell, block, feature, slug
from features.context.failures import Members, base_rate, failure_cells, label_log, record
from features.context.vocabulary import Vocabulary
from features.dictionary import Block
from features.process import ProcessDefinition


@dataclass(frozen=True)
class Uses:
    """Uses of lots of one material, sorted by batch, then by lot.

    Attributes:
        batch: Batch, as position in the index of batches.
        lot: Lot, as position in `names`.
        when: When the use was known: `consumed_at`, but not before the batch's start, from when on the batch is known.
        quantity: Quantity used, NaN where missing.
        unit: Code of the quantity's unit.
        supplier: Supplier, "" where unknown.
        names: Lot ids.
    """

    batch: Ints
    lot: Ints
    when: Ints
    quantity: Floats
    unit: Ints
    supplier: pd.Series
    names: pd.Index

    @classmethod
    def of(cls, materials: pd.DataFrame, batch_index: pd.Index, started: Ints) -> Uses:
        """Uses among the rows of one material."""
        used = materials.assign(batch=codes(materials["batch_id"], batch_index))
        used = used[used["batch"] >= 0].sort_values(["batch", "lot_id"])
        batch, consumed = used["batch"].to_numpy(dtype=np.int64), micros(used["consumed_at"])
        lot, names = pd.factorize(used["lot_id"])
        return cls(
            batch=batch,
            lot=lot.astype(np.int64),
            when=np.where(consumed == NEVER, started[batch], np.maximum(consumed, started[batch])),
            quantity=used["quantity"].to_numpy(dtype=np.float64),
            unit=pd.factorize(used["unit"])[0].astype(np.int64),
            supplier=used["supplier"],
            names=pd.Index(names),
        )


@dataclass(frozen=True)
class Asked:
    """Pairs of a row and a use of a lot known at the row's time, sorted by row, then by lot."""

    row: Ints
    use: Ints
    as_of: Ints
    size: int

    @classmethod
    def of(cls, batch: Ints, as_of: Ints, uses: Uses) -> Asked:
        """Uses that each row's batch is known to have made at the row's time."""
        row, use = matches(batch, uses.batch)
        seen = uses.when[use] <= as_of[row]
        return cls(row[seen], use[seen], as_of[row[seen]], len(batch))


def lots(
    rows: pd.DataFrame,
    batches: pd.DataFrame,
    materials: pd.DataFrame,
    lot_results: pd.DataFrame,
    labels: pd.DataFrame,
    process: ProcessDefinition,
    vocabulary: Vocabulary,
) -> Block:
    """Per material: failure history of lot and supplier, use and age of the lot, its tests.

    Returns:
        `lot.<material>.now.{n_known,failure_excess,n_used,in_use_h}`, `supplier.<material>.now.{n_known,failure_excess}`,
        `<parameter>.lot.value` (`<parameter>.lot_<material>.value` where several materials are tested for it).
        NaN where no lot of the material is known to be used yet.
    """
    plant = batches.drop_duplicates("batch_id")
    index, started = pd.Index(plant["batch_id"]), micros(plant["started_at"])
    batch, as_of = codes(rows["batch_id"], index), micros(rows["as_of"])
    log = label_log(labels, index)
    base = base_rate(batch, as_of, log)
    cells: list[Cell] = []
    for material in vocabulary.materials:
        uses = Uses.of(materials[materials["material"] == material], index, started)
        asked = Asked.of(batch, as_of, uses)
        by_lot = Members.of(uses.batch, pd.Series(uses.names[uses.lot]), uses.when)
        by_supplier = Members.of(uses.batch, uses.supplier, uses.when)
        lot, supplier = f"lot.{slug(material)}", f"supplier.{slug(material)}"
        cells += failure_cells(
            lot, f"Lot of {material}", *record(batch, as_of, by_lot, log), base, of=f"the same lot of {material}"
        )
        cells += failure_cells(
            supplier,
            f"Supplier of {material}",
            *record(batch, as_of, by_supplier, log),
            base,
            of=f"the same supplier of {material}",
        )
        cells += _use_cells(lot, material, uses, asked)
        tests = lot_results[lot_results["material"] == material]
        for parameter in (p for p, m in vocabulary.lot_tests if m == material):
            known = process[parameter]
            alone = sum(p == parameter for p, _ in vocabulary.lot_tests) == 1
            entry = feature(
                parameter,
                "lot" if alone else f"lot_{slug(material)}",
                "value",
                label=known.label,
                unit=known.unit,
                meaning=known.label if alone else f"{known.label}, lot of {material}",
            )
            cells.append((entry, _tested(tests[tests["parameter"] == parameter], uses, asked)))
    return block(rows, cells)


def _use_cells(subject: str, material: str, uses: Uses, asked: Asked) -> list[Cell]:
    """Other uses of the batch's lots so far, and hours since the oldest of them was first used."""
    line = Timeline.of(uses.lot, uses.when)
    lot = uses.lot[asked.use]
    others = line.count(lot, asked.as_of) - 1  # the batch's own use is known, or it would not be asked
    first = line.when[line.begin(lot)]
    used, age = np.zeros(asked.size), np.full(asked.size, np.nan)
    np.add.at(used, asked.row, others)
    np.fmax.at(age, asked.row, (asked.as_of - first) / HOUR)
    used[np.isnan(age)] = np.nan
    label = f"Lot of {material}"
    return [
        (
            feature(subject, "now", "n_used", label=label, meaning=f"other batches that used the lot of {material}"),
            used,
        ),
        (
            feature(
                subject,
                "now",
                "in_use_h",
                label=label,
                unit="h",
                meaning=f"time since the lot of {material} was first used",
            ),
            age,
        ),
    ]


def _tested(tests: pd.DataFrame, uses: Uses, asked: Asked) -> Floats:
    """Newest result of each lot (its highest revision available), averaged over the lots of a batch by quantity.

    The mean is plain where a quantity is missing, where all are 0, or where their units differ.
    """
    known = tests.assign(lot=codes(tests["lot_id"], uses.names))
    known = known[known["lot"] >= 0]
    lot, value = known["lot"].to_numpy(dtype=np.int64), known["value"].to_numpy(dtype=np.float64)
    rank = ranks([micros(known["observed_at"]), known["revision"].to_numpy(), value])
    newest = Timeline.of(lot, micros(known["available_at"])).best(rank, uses.lot[asked.use], asked.as_of)
    has = newest >= 0
    row, use = asked.row[has], asked.use[has]
    return _mean(row, value[newest[has]], uses.quantity[use], uses.unit[use], asked.size)


def _mean(row: Ints, value: Floats, quantity: Floats, unit: Ints, size: int) -> Floats:
    """Quantity-weighted mean of the values of each row; a single value comes out as it is."""
    low, high = np.full(size, NEVER), np.full(size, -1)
    np.minimum.at(low, row, unit)
    np.maximum.at(high, row, unit)
    total = np.bincount(row, weights=quantity, minlength=size)  # NaN as soon as one is missing
    plain = ~(total > 0) | (low != high)
    weight = np.where(plain[row], 1.0, quantity)
    total = np.bincount(row, weights=weight, minlength=size)
    mean = np.bincount(row, weights=weight / total[row] * value, minlength=size)
    return np.where(total > 0, mean, np.nan)
