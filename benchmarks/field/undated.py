"""Public data sets without dates: no calendar to replay, so their batches are compared in grouped folds.

Each has one row per batch with what is known before the outcome, the outcome as a stated tail, and groups of batches that
share raw material or conditions and must stay on one side of a split. Columns that hold the outcome, or other results of
the same final test, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.field.sheets import read_sheets
from pipelines.sources.convert.history import require_columns, source_file

CELLS_AT_LEAST = 2.5e7  # live cells at the end of an expansion; the lowest quarter of 30 runs lies below
UNTIL_DAY = 8
_DESIGN = ["il2_conc", "activator_conc", "abs_surface_density", "functional_mab_percent", "functional_mab_mass",
           "dummy_mabs_added", "vessel_size1", "vessel_size2", "diameter_mean", "diameter_sd", "circularity_mean",
           "circularity_sd"]  # fmt: skip
_CONDITIONS = ["Dataset", "il2_conc", "activator_conc", "abs_surface_density"]
_MEASURED = re.compile(r"(.+?)(?: - | D)(\d+)")  # `IL2 - 6`, a cytokine, or `Formate 8.448 D6`, a medium
_AS_A_DATE = re.compile(r"(\d+)-Apr")  # what a spreadsheet made of `4-1BB - 6`
_MATERIALS = ("MAT1", "MAT2", "MAT3", "MAT4", "MAT5")
_MAIN_MATERIAL = "MAT1"  # lots of the others are shared by nearly all batches


@dataclass(frozen=True)
class UndatedSet:
    """A data set and its question; X, failed and groups have one index, the batches.

    Attributes:
        name: Short and unique.
        X: Numbers; NaN where not known.
        failed: Outcome.
        groups: Batches of one group must not stand on both sides of a split.
        label: The rule of the outcome, in words.
        note: What a reader must know beside a figure.
    """

    name: str
    X: pd.DataFrame
    failed: pd.Series
    groups: pd.Series
    label: str
    note: str

    @property
    def rows(self) -> pd.DataFrame:
        """X as snapshot rows of one checkpoint, for `benchmarks.field.rivals`."""
        ids = pd.Series(self.X.index.astype("str"), name="batch_id")
        return pd.concat([ids.to_frame().assign(checkpoint_h=0.0), self.X.reset_index(drop=True)], axis=1)


def chem_proc_yield(folder: Path) -> UndatedSet:
    """176 runs of a chemical process (Kuhn and Johnson 2013): raw materials and process variables; yield below 38.

    Runs of the same raw material, to the last digit of its twelve variables, are one group.
    """
    path = source_file(folder, "chem_proc_yield.csv")
    runs = pd.read_csv(path)
    materials = [name for name in runs if name.startswith("bio_material_")]
    require_columns(runs, ["yield", "bio_material_01", "man_proc_01"], path)
    runs.index = _ids("R", len(runs))
    return UndatedSet(
        "chem_proc_yield",
        runs.drop(columns="yield").astype("float64"),
        (runs["yield"] < 38).rename("failed"),
        runs.groupby(materials, dropna=False, sort=False).ngroup().rename("group"),
        "yield < 38",
        "declared tail; groups: raw-material profiles",
    )


def lot_genealogy(folder: Path) -> UndatedSet:
    """105 product lots (Garcia-Munoz, pyphi): process variables and the properties of the lots used; Y3 below 52.

    Properties of a material are the means of its lots, weighted by their ratios. Product lots that share a lot of MAT1,
    also by way of a third one, are one group.
    """
    sheets = read_sheets(source_file(folder, "jrpls_tpls_dataset.xlsx"))
    used = sheets["Materials"].set_axis(["batch", "lot", "ratio", "material"], axis=1).astype({"ratio": "float64"})
    process = sheets["PROCESS"].set_index("LotID").astype("float64").add_prefix("process_")
    quality = sheets["QUALITY"].set_index("LotID").astype("float64")
    parts = [_mixed(used[used["material"] == name], sheets[name], name.lower()) for name in _MATERIALS]
    return UndatedSet(
        "lot_genealogy",
        process.join(parts),
        (quality["Y3"].reindex(process.index) < 52).rename("failed"),
        _shared(used[used["material"] == _MAIN_MATERIAL]).reindex(process.index),
        "Y3 < 52",
        "declared tail; groups: product lots linked by a shared lot of MAT1; lots of other materials are on both sides",
    )


def tcell_cmat(folder: Path, *, until_day: int = UNTIL_DAY) -> UndatedSet:
    """30 T-cell expansions of 14 days (Odeh-Couvertier et al. 2022): few live cells at their end.

    What is known is the design, the carriers, and cytokines and media up to a day. Runs of the same campaign and conditions
    are one group.

    Args:
        folder: Holds `AllData_20210107.csv`.
        until_day: Last day whose samples are known; day 14 is that of the outcome.

    Raises:
        ValueError: `until_day` is 14 or later.
    """
    if until_day >= 14:
        raise ValueError(f"until_day is {until_day}; expected a day before the outcome of day 14")
    path = source_file(folder, "AllData_20210107.csv")
    runs = pd.read_csv(path, encoding="utf-8-sig").rename(columns=lambda name: _AS_A_DATE.sub(r"4-1BB - \1", name))
    require_columns(runs, ["run", "total_live_cells", "carrier_batch", *_CONDITIONS, *_DESIGN], path)
    runs.index = pd.Index(runs["Dataset"] + "-" + runs["run"].astype("str"), name="batch")
    known = [name for name in runs if (found := _MEASURED.fullmatch(name)) and int(found[2]) <= until_day]
    return UndatedSet(
        "tcell_cmat",
        runs[[*_DESIGN, *known]].rename(columns=_plain).astype("float64"),
        (runs["total_live_cells"] < CELLS_AT_LEAST).rename("failed"),
        runs.groupby(_CONDITIONS, sort=False).ngroup().rename("group"),
        f"total live cells < {CELLS_AT_LEAST:.2g} on day 14",
        f"tail declared here, not published; known until day {until_day}; 30 runs are too few for a gate",
    )


UNDATED: dict[str, Callable[[Path], UndatedSet]] = {
    "chem_proc_yield": chem_proc_yield,
    "lot_genealogy": lot_genealogy,
    "tcell_cmat": tcell_cmat,
}


def _ids(letter: str, n: int) -> pd.Index:
    return pd.Index([f"{letter}{place:03d}" for place in range(1, n + 1)], name="batch")


def _plain(name: str) -> str:
    """A name of letters, digits and underscores."""
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")


def _mixed(used: pd.DataFrame, lots: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Weighted mean of the properties of each batch's lots, and how many lots they are."""
    properties = lots.set_index(lots.columns[0]).astype("float64")
    names = [f"{prefix}_{name.strip()}" for name in properties]
    values = properties.reindex(used["lot"]).to_numpy()
    ratio = np.where(np.isnan(values), np.nan, used["ratio"].to_numpy()[:, None])
    batch = used["batch"].to_numpy()
    total, weight = (pd.DataFrame(a, columns=names).groupby(batch).sum(min_count=1) for a in (values * ratio, ratio))
    return (total / weight).assign(**{f"{prefix}_n_lots": used.groupby("batch").size().astype("float64")})


def _shared(used: pd.DataFrame) -> pd.Series:
    """Group of each batch: batches linked by shared lots are one."""
    batch, batches = pd.factorize(used["batch"])
    lot, lots = pd.factorize(used["lot"])
    size = len(batches) + len(lots)
    edges = coo_array((np.ones(len(used)), (batch, lot + len(batches))), shape=(size, size))
    _, group = connected_components(edges, directed=False)
    return pd.Series(group[: len(batches)], index=batches, name="group")
