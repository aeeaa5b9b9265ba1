"""Whether the reasons at the first alarm name what truly went wrong, beside chance and beside two simpler answers.

Strict: a reason is right if its parameter is one of the truth's `affected_parameters`, by name. With the mapping below a reason
is also right if it names the other measurement of the same quantity, or the recorded cause behind the fault.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.baselines.mspc import spe_contributions
from benchmarks.model.cases import UNEXPLAINED, affected_in_training
from benchmarks.model.measures import Counts, Measure
from benchmarks.model.plant import Ground
from benchmarks.model.scored import Scored
from models.evaluation.alarms import first_alarms, threshold_at_share

SECTION = "Do the reasons name the cause"
TWINS = {"ph": ("ph_offline",), "glucose_mm": ("glucose_inline_mm",), "glucose_inline_mm": ("glucose_mm",)}
CAUSES = {
    "M1": ("indication", "prior_bendamustine", "cd4_cd8_ratio", "platelets_g_l"),
    "M2": ("lot.activation_reagent", "supplier.activation_reagent", "activator_potency_pct"),
    "M3": ("lot.vector", "supplier.vector", "vector_titre_tu_ml", "vector_p24_ng_ml"),
}
TOP = (1, 3)
BOUNDS = {1: 0.84, 3: 0.93}
SHARE = 0.05


def fidelity(ground: Ground, scores: Scored, known: pd.DataFrame) -> list[Measure]:
    """Top-1 and top-3 shares at the first alarm of the caused failures, and the time it took."""
    alarms = alarmed_causes(scores, known)
    n = Counts(n=int(known["failed"].sum()), n_failed=len(alarms))
    named = reasons(ground, scores, alarms)
    strict, wide = (
        list(alarms["affected"]),
        [_mapped(m, a) for m, a in zip(alarms["mode"], alarms["affected"], strict=True)],
    )
    parameters = sorted({f.parameter for f in scores.predictor.features})
    out = []
    for k in TOP:
        note = f"of {n['n']} failures alarmed for a known cause, by name"
        out += [
            Measure(SECTION, f"top {k}, strict", _share(named, strict, k), **n, bound=BOUNDS[k], note=note),
            Measure(SECTION, f"top {k}, with twins and recorded causes", _share(named, wide, k), **n),
            Measure(SECTION, f"top {k}, strict, reasons in random order", _chance(strict, parameters, k), **n),
            Measure(SECTION, f"top {k}, strict, always the most frequent parameters", _share([_frequent(ground)] * len(strict), strict, k), **n,
                    note="most often affected in training, by the truth"),
            Measure(SECTION, f"top {k}, strict, SPE contributions at the same moment", _share(_spe(ground, alarms), strict, k), **n),
        ]  # fmt: skip
    out += _from_the_onset(alarms, named, strict) + _by_mode(alarms, named, strict, wide)
    return [*out, *_delay(alarms, known)]


def alarmed_causes(scores: Scored, known: pd.DataFrame) -> pd.DataFrame:
    """Caused failures that are alarmed at 5 %: `mode`, `affected`, `first_observable_at`, `first_alarm_at`, `first_alarm_h`."""
    held = scores.held
    first = first_alarms(held, threshold_at_share(held, SHARE))
    caused = known[known["failed"] & (known["mode"] != UNEXPLAINED)]
    mine = caused.join(first[["alarmed", "first_alarm_at", "first_alarm_h"]])
    return mine[mine["alarmed"].fillna(False).astype(bool)]


def reasons(ground: Ground, scores: Scored, alarms: pd.DataFrame) -> list[list[str]]:
    """Parameters that raise the risk at each alarm, strongest first."""
    if alarms.empty:
        return []
    started = ground.batches.set_index("batch_id")["started_at"].loc[alarms.index].to_numpy()
    hours = alarms["first_alarm_h"].to_numpy(float)
    rows = pd.DataFrame({"batch_id": alarms.index.astype("str"), "checkpoint_h": hours, "started_at": started})
    rows = rows.assign(as_of=alarms["first_alarm_at"].to_numpy())
    frame = pd.concat(list(ground.snapshots_at(rows)), ignore_index=True)
    found = scores.predictor.contributions(frame)
    parameters = [feature.parameter for feature in scores.predictor.features]
    summed = found.T.groupby(parameters, sort=True).sum().T.set_axis(frame["batch_id"])
    return [_ranked(row) for _, row in summed.loc[alarms.index].iterrows()]


def _ranked(row: pd.Series) -> list[str]:
    ordered = row.sort_values(ascending=False, kind="stable")
    return [str(name) for name in ordered.index[ordered > 0]]


def _mapped(mode: str, affected: Sequence[str]) -> tuple[str, ...]:
    twins = [twin for name in affected for twin in TWINS.get(name, ())]
    return (*affected, *twins, *CAUSES.get(mode, ()))


def _share(named: Sequence[Sequence[str]], right: Sequence[Sequence[str]], k: int) -> float:
    hits = [bool(set(names[:k]) & set(true)) for names, true in zip(named, right, strict=True)]
    return float(np.mean(hits)) if hits else math.nan


def _chance(right: Sequence[Sequence[str]], parameters: Sequence[str], k: int) -> float:
    """Expected share for a random order of all parameters of the predictor (hypergeometric)."""
    total = len(parameters)
    missed = [math.comb(total - len(set(true) & set(parameters)), k) / math.comb(total, k) for true in right]
    return float(1 - np.mean(missed)) if missed else math.nan


def _frequent(ground: Ground) -> list[str]:
    return list(affected_in_training(ground).index)


def _spe(ground: Ground, alarms: pd.DataFrame) -> list[list[str]]:
    at = pd.DataFrame({"batch_id": alarms.index, "checkpoint_h": alarms["first_alarm_h"].to_numpy(float)})
    if at.empty:
        return []
    found = spe_contributions(ground.plant, ground.train, at)
    ordered = found.sort_values("contribution", ascending=False, kind="stable")
    named = ordered.groupby("batch_id")["parameter"].agg(list)
    return [named[batch] for batch in alarms.index]


def _from_the_onset(alarms: pd.DataFrame, named: list[list[str]], right: list) -> list[Measure]:
    """The same for alarms raised once the fault shows: an earlier one cannot name it."""
    late = (alarms["first_alarm_at"] >= alarms["first_observable_at"]).to_numpy()
    keep = np.flatnonzero(late)
    some = [named[i] for i in keep], [right[i] for i in keep]
    out = [
        Measure(SECTION, f"top {k}, strict, alarms once the fault shows", _share(*some, k), n=len(alarms), n_failed=len(keep)) for k in TOP
    ]  # fmt: skip
    return [*out, Measure(SECTION, "alarms raised before the fault shows, or where it never does", float(1 - late.mean()), n=len(alarms), n_failed=len(alarms))]  # fmt: skip


def _by_mode(alarms: pd.DataFrame, named: list[list[str]], right: list, wide: list) -> list[Measure]:
    out = []
    for mode in sorted(alarms["mode"].unique(), key=lambda name: int(name[1:])):
        keep = np.flatnonzero(alarms["mode"] == mode)
        of = Counts(n=len(keep), n_failed=len(keep))
        for words, true in (("strict", right), ("with the mapping", wide)):
            parts = [named[i] for i in keep], [true[i] for i in keep]
            out += [Measure(f"{SECTION}, by mode", f"{mode}, top {k}, {words}", _share(*parts, k), **of) for k in TOP]
    return out


def _delay(alarms: pd.DataFrame, known: pd.DataFrame) -> list[Measure]:
    shown = alarms[alarms["observable"] & alarms["first_observable_at"].notna()]
    hours = (shown["first_alarm_at"] - shown["first_observable_at"]) / pd.Timedelta(hours=1)
    note = "observable failures; negative: alarmed before a noise-free observer sees this fault"
    quarter, half, three = hours.quantile([0.25, 0.5, 0.75]) if len(hours) else (math.nan,) * 3
    return [Measure(SECTION, "first sign to first alarm, median", float(half), "h", n=int(known["observable"].sum()), n_failed=len(shown),
                    note=f"{note}; one plant's quartiles {quarter:.0f} and {three:.0f} h")]  # fmt: skip
