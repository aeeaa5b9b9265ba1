"""The made-up plant with all that a report can speak of, shared by the tests of evaluation and report."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.process import Cost, ProcessDefinition
from models.evaluation.evaluate import Evaluation, evaluate
from models.train import Trained, train
from tests.models.plant import QUICK, Plant, make_plant


@dataclass(frozen=True)
class Rich:
    """A plant with costs, release results, failure modes, two sites, and what was trained on it."""

    plant: Plant
    observations: pd.DataFrame
    dispositions: pd.DataFrame
    trained: Trained

    def evaluate(self) -> Evaluation:
        plant = self.plant
        return evaluate(
            plant.process, self.trained, plant.snapshots, plant.features, plant.batches, plant.log,
            observations=self.observations, dispositions=self.dispositions,
        )  # fmt: skip


def _process(plant: Plant) -> ProcessDefinition:
    changed = plant.process.model_dump()
    changed["quality_attribute"] = [{"name": "purity", "parameter": "purity_pct", "lower": 90}]
    changed["cost"] = Cost(failed_batch=1000, false_alarm=50, useful_lead_h=6).model_dump()
    return ProcessDefinition.model_validate(changed)


def make_rich() -> Rich:
    plain = make_plant(260, seed=2)
    batches = plain.batches.assign(site_id=["east", "west"] * 130, process_version="1", scale_l=2.0)
    plant = replace(plain, process=_process(plain), batches=batches)
    force = plant.snapshots[plant.snapshots["checkpoint_h"] == 24].set_index("batch_id")["force_kn.since_start.mean"]
    known = plant.log["label_available_at"] - pd.Timedelta(days=1)
    head = {"batch_id": plant.log["batch_id"], "revision": np.int32(0)}
    observations = pd.DataFrame({
        **head, "parameter": "purity_pct", "unit": "%", "quality": "good", "observed_at": known, "available_at": known,
        "value": 100 - 2 * plant.log["batch_id"].map(force) + np.random.default_rng(2).normal(0, 0.2, 260),
    })  # fmt: skip
    mode = np.where(np.cumsum(plant.log["failed"]) % 4 == 0, "rare", "hard")
    dispositions = pd.DataFrame({
        **head, "outcome": np.where(plant.log["failed"], "rejected", "released"),
        "failure_modes": np.where(plant.log["failed"], mode, ""), "decided_at": plant.log["label_available_at"],
    })  # fmt: skip
    trained = train(
        plant.process, plant.snapshots, plant.features, plant.batches, plant.log,
        observations=observations, dispositions=dispositions, plan=QUICK,
    )  # fmt: skip
    return Rich(plant, observations, dispositions, trained)
