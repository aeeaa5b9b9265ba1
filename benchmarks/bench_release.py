"""`make bench-release`: kills, races, mutations and tamperings of a release: `benchmarks/results/release.json`.

`--quick` runs a few of each and writes nothing; `--part NAME` runs one part and replaces its figures in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.field.made_plant import made_plant
from benchmarks.record import RESULTS, write
from benchmarks.release import mutations, registering, signing
from benchmarks.release.office import Office

TRAINING, REGISTERING, SIGNING, RACES, MUTATIONS, TAMPERINGS = 100, 150, 750, 500, 10_000, 1_200
QUICK = {"training": 1, "registering": 4, "signing": 20, "races": 5, "mutations": 200, "tamperings": 60}
PARTS = ("mutations", "tamperings", "signing", "registering", "training")
Figures = list[dict[str, Any]]
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def parts_of(root: Path, given: argparse.Namespace) -> dict[str, Callable[[], Figures]]:
    """The parts by name, each in a folder of its own."""
    made = registering.trained_example()
    plant = made_plant(registering.N_BATCHES)

    def office(name: str) -> Office:
        return Office(root / name, made.trained.predictor, plant)

    def sign() -> Figures:
        (root / "signing").mkdir()
        return signing.figures_of(office("signing"), given.signing, given.races)

    return {
        "mutations": lambda: [mutations.of_bundles(office("mutations"), given.mutations)],
        "tamperings": lambda: [mutations.of_trail(office("tamperings"), given.tamperings)],
        "signing": sign,
        "registering": lambda: registering.of_registering(made, root, given.registering),
        "training": lambda: registering.of_training(root, given.training),
    }


def main() -> None:
    """Run the parts; in a process whose libraries start no threads, because the parts fork it."""
    if any(os.environ.get(name) != "1" for name in _ONE_THREAD):
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.bench_release", *sys.argv[1:]], environment)  # noqa: S606
    parser = argparse.ArgumentParser(description=__doc__)
    counts = {"training": TRAINING, "registering": REGISTERING, "signing": SIGNING, "races": RACES, "mutations": MUTATIONS,
              "tamperings": TAMPERINGS}  # fmt: skip
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.quick:
        vars(given).update(QUICK)
    found: dict[str, dict[str, Any]] = {}
    path = RESULTS / "release.json"
    if given.part and path.exists():
        found = {figure["name"]: figure for figure in json.loads(path.read_text())["figures"]}
    with tempfile.TemporaryDirectory() as folder:
        for name, run in parts_of(Path(folder), given).items():
            if given.part and name not in given.part:
                continue
            for figure in run():
                print(
                    f"{figure['name']}: {figure['value']} {figure['unit']}, n {figure['n']} ({figure['note']})",
                    flush=True,
                )
                found[figure["name"]] = figure
    if not given.quick:
        print(write("release", list(found.values())))


if __name__ == "__main__":
    main()
