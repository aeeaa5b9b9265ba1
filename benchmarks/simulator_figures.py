"""Figures of docs/simulator.md: `python -m benchmarks.simulator_figures [FOLDER]`, docs/figures unless given."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.simulator import kinetics
from pipelines.simulator.biology import draw_biology, kinetic_parameters
from pipelines.simulator.faults import MODES
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.plan import BatchPlan, PlantPlan, plan_plant
from pipelines.simulator.settings import SimulationSettings
from pipelines.simulator.truth import truth_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND, LINE, OTHER = "#c8d7e6", "#1f4e79", "#c0504d"
_SHOWN = (  # mode, channel, what it is called
    ("M1", "viable_e6_ml", "Viable cells, 1e6/mL"), ("M4", "glucose_mm", "Glucose, mmol/L"),
    ("M6", "do_pct", "Dissolved oxygen, %"), ("M7", "temperature_c", "Temperature, °C"),
    ("M8", "glucose_mm", "Glucose, mmol/L"), ("M10", "ph", "pH"),
)  # fmt: skip


def draw_all(folder: Path) -> list[Path]:
    """Write all figures as PNG; needs about a minute."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    rates = dict.fromkeys(MODES, 3.0)
    figures = {
        "simulator_typical": _typical(),
        "simulator_faults": _faults(plan_plant(SimulationSettings(n_batches=500, seed=3, mode_rates=rates))),
        "simulator_modes": _modes(plan_plant(SimulationSettings(n_batches=3000, seed=3))),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=90, metadata={"Software": None})
        pyplot.close(figure)
    return paths


def _typical(n: int = 1000) -> Figure:
    """Percentiles of fault-free batches of the reference process."""
    from matplotlib import pyplot

    rng = np.random.default_rng(1)
    p = np.array([kinetic_parameters(draw_biology(rng, float(rng.standard_normal()))) for _ in range(n)])
    course = kinetics.run_recorded(p, 0.1, 10)
    viable, dead = course[..., CHANNEL["viable_e6_ml"]], course[..., CHANNEL["dead_e6_ml"]]
    shown = {
        "Viable cells, 1e6/mL": viable,
        "Viability, %": 100.0 * viable / (viable + dead),
        "Glucose, mmol/L": course[..., CHANNEL["glucose_mm"]],
        "Lactate, mmol/L": course[..., CHANNEL["lactate_mm"]],
        "Dissolved oxygen, %": course[..., CHANNEL["do_pct"]],
        "pH": course[..., CHANNEL["ph"]],
    }
    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5), layout="constrained")
    for axis, (title, values) in zip(axes.flat, shown.items(), strict=True):
        low, middle, high = np.percentile(values, [5, 50, 95], axis=0)
        axis.fill_between(np.arange(len(low)), low, high, color=BAND, lw=0)
        axis.plot(middle, color=LINE)
        _dress(axis, title)
    figure.suptitle("Fault-free simulated batches: median and 5-95 % of 1 000")
    return figure


def _faults(plan: PlantPlan) -> Figure:
    """One batch of each of six modes beside itself without the fault."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5), layout="constrained")
    for axis, (mode, channel, title) in zip(axes.flat, _SHOWN, strict=True):
        batch = _example(plan, mode)
        onset = next(f.onset_h for f in batch.faults if f.mode == mode)
        end = int(batch.outcome.stop_h) + 1
        axis.plot(batch.course(mode)[:, CHANNEL[channel]], color=LINE, label="without the fault")
        axis.plot(batch.course()[:end, CHANNEL[channel]], color=OTHER, label="with it")
        axis.axvline(onset, color="0.6", lw=0.8, ls=":")
        _dress(axis, title)
        axis.set_title(f"{mode} {MODES[mode].title}: {batch.outcome.outcome}", fontsize=9, loc="left")
    axes.flat[0].legend(frameon=False, fontsize=8)
    figure.suptitle("The same simulated batch with and without one fault; dotted: its onset")
    return figure


def _example(plan: PlantPlan, mode: str) -> BatchPlan:
    alone = [b for b in plan.batches if [f.mode for f in b.faults] == [mode]]
    return next((b for b in alone if b.outcome.failed), alone[0])


def _modes(plan: PlantPlan) -> Figure:
    """How often each mode occurs and how often it is what makes the batch fail."""
    from matplotlib import pyplot

    truth = truth_table(plan).to_pylist()
    struck = Counter(row["mode"] for row in truth)
    failed = Counter(row["mode"] for row in truth if row["caused_failure"])
    figure, axis = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    names = [f"{mode} {spec.title}" for mode, spec in MODES.items()][::-1]
    for counts, colour, label in ((struck, BAND, "struck"), (failed, OTHER, "struck and failed by it")):
        axis.barh(names, [counts[mode] for mode in MODES][::-1], color=colour, label=label)
    axis.set_xlabel(f"batches of {len(plan.batches):,}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


def _dress(axis: Axes, title: str) -> None:
    axis.set_ylabel(title, fontsize=8)
    axis.set_xlabel("hours since start", fontsize=8)
    axis.set_xticks(range(0, 217, 48))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/figures"))
