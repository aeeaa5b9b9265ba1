"""Work with a stored plant in Python: features at a time, scores, reasons, figures.

Run `make demo` first, then `.venv/bin/python examples/workbench.py --process processes/cart.toml --data-dir var/demo`.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

from features.errors import BatchguardError
from pipelines import workbench
from pipelines.plant import Plant

MOMENTS, APART = 6, timedelta(days=14)


def main() -> None:
    """Print the batches in progress, why they are at risk, and how the predictor did on other batches."""
    parser = argparse.ArgumentParser(description="features at a time, scores, reasons and figures of a stored plant")
    parser.add_argument("--process", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    plant = workbench.open_plant(given.process, given.data_dir)
    loaded = workbench.load_predictor(plant)

    snapshots, features = workbench.features_as_of(plant, plant.newest_moment)
    print(
        f"{len(snapshots)} batches in progress at {plant.newest_moment:%Y-%m-%d %H:%M} UTC, {len(features)} features each"
    )
    for score in workbench.score(loaded, plant, snapshots, features):
        first = score.reasons[0].sentence if score.reasons else "no reason"
        print(
            f"  {score.batch_id}: {score.failure_probability:.0%}, call {score.call}, support {score.support}; {first}"
        )

    points = workbench.explain(loaded, snapshots, features)
    largest = points.abs().mean().nlargest(3).index
    print("percentage points of the parameters that matter most here:")
    print(points[largest].round(1).to_string())

    print(earlier_figures(plant, loaded))
    sealed = workbench.sealed_evaluation(plant).overall
    print(
        f"sealed test of version {loaded.model.version}: AUROC {sealed['auroc']:.2f} "
        f"({sealed['auroc_low']:.2f} to {sealed['auroc_high']:.2f}), {sealed['n_failed']:.0f} of {sealed['n']:.0f} batches failed"
    )
    print("Figures on simulated batches verify the software; they validate no model.")


def earlier_figures(plant: Plant, loaded: workbench.LoadedPredictor) -> str:
    """Figures of scores made at earlier moments, when the batches were in progress, in a line."""
    scores = []
    for back in range(1, MOMENTS + 1):
        snapshots, features = workbench.features_as_of(plant, loaded.cut - back * APART)
        if len(snapshots):
            scores += workbench.score(loaded, plant, snapshots, features)
    try:
        found = workbench.evaluate(plant, loaded, scores)
    except BatchguardError as error:
        return f"earlier moments: {error}"
    v, known = found.values, found.n_known_at_training
    return (
        f"earlier moments: AUROC {v['auroc']:.2f} ({v['auroc_low']:.2f} to {v['auroc_high']:.2f}), Brier {v['brier']:.2f}, "
        f"{v['n_failed']:.0f} of {v['n_batches']:.0f} batches failed; "
        + (f"{known} outcomes were known before its cut: no test" if known else "no outcome was known before its cut")
    )


if __name__ == "__main__":
    main()
