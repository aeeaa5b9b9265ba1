"""What a model was released for, and by which limits it decides: written when a bundle is exported, and signed with it."""

from __future__ import annotations

from typing import Any

from features.process import ProcessDefinition
from models.predictor import Predictor


def thresholds(predictor: Predictor) -> dict[str, Any]:
    """The limits of the decision and the error rates behind `undecided`."""
    return {"thresholds": predictor.thresholds.to_json(), "sets": predictor.decision_sets.to_json()}


def intended_use(predictor: Predictor, process: ProcessDefinition) -> dict[str, Any]:
    """The question, the process, when it is asked, whose batches the model knows, and what it must not be used for.

    Args:
        predictor: To be released.
        process: The process it was made for.

    Returns:
        Plain JSON values. Subgroups are those of training, with their number of batches: below `min_batches`, and where
        a name is not there at all, the model answers `undecided`.
    """
    outcome, domain = process.outcome, predictor.applicability
    inputs = sorted({feature.parameter for feature in predictor.features})
    known = {parameter.name: parameter for parameter in process.parameter}
    return {
        "question": f"Will the batch in progress fail ({outcome.label_rule or ', '.join(outcome.failed)})?",
        "use": "Decision support beside the plant's own rules. It never changes a batch's status: a person decides.",
        "process_id": predictor.process_id,
        "process_version": predictor.process_version,
        "decision_points_h": list(process.checkpoints_h),
        "subgroups": {} if domain is None else {name: dict(sizes) for name, sizes in domain.support.items()},
        "min_batches": None if domain is None else domain.min_batches,
        "inputs": [
            {"parameter": name, "unit": known[name].unit, "range": list(known[name].range)} for name in inputs if name in known
        ],
        "limits": [
            "Outside the inputs' ranges, for subgroups not named here, with too much missing or stale: undecided.",
            "Not for release or rejection of a batch, and not in the place of an in-process control.",
        ],
    }  # fmt: skip
