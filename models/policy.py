"""How a plant trains, tests and renews its models: the table `[policy]` of a process definition.

The table is no part of the process digest: a policy decides which models are made and when, not what features or labels are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from features.process import ProcessDefinition, ProcessPart
from models.learners.trees import Learner, Plan
from models.toml_files import read_toml, validated

OUTCOMES, MOST_RETRAININGS = 25, 20


class Policy(ProcessPart):
    """The rules by which models are made, tested and put to use.

    Attributes:
        learner: `layers` (docs/model.md), `trees` alone on the features, or `deviations`: the largest deviation from good
            batches. `auto`: layers where release attributes can be forecast; elsewhere trees, or deviations where these
            order batches better (`models.learners.candidates`).
        retrain_every_outcomes: Known outcomes from one training to the next; default 25, where no days are given.
        retrain_every_days: Days from one training to the next, instead.
        most_retrainings: Trainings of one replay at most: beyond, the interval is doubled until they fit.
        window_outcomes: Newest known outcomes that train; None: all.
        recalibrate_every_outcomes: Known outcomes after which the newest approved model has new thresholds, calibration
            and limits, counted from each training; None: with each training only.
        approval_delay_h: Hours from a training or a recalibration to its use.
        least_auroc: A trained version whose test reads lower is refused and the one before it goes on serving.
        test: `prequential`: each batch is scored by the newest model made before it started, and those scores are the
            test; the served model learns from all that is known. `newest_quarter` and `newest_failures` seal the newest
            batches away from the model: a quarter of them, or as few as hold `test_failures` failures.
        test_failures: Failures of the test `newest_failures`.
        half_life_batches: Known batches after which a prequential score counts half in thresholds and calibration.
        follow_up: What becomes of training batches whose outcome could hardly be known yet: `leave_out`, `weight` (one
            over the probability that it would be known), or `ignore` that.
        domain_share: Share of later good batches that may leave the applicability domain, per check and stage.
        not_worse_by: By how much the AUROC of a challenger may be lower than the champion's, on the same later batches, and
            it still counts as not worse (`models.evaluation.champion`).
        alarm_from_h: Hours of a batch before which nothing is called elevated or high; None: until after its start.
    """

    learner: Learner = "auto"
    retrain_every_outcomes: int | None = Field(default=None, ge=1)
    retrain_every_days: float | None = Field(default=None, gt=0)
    most_retrainings: int = Field(default=MOST_RETRAININGS, ge=1)
    window_outcomes: int | None = Field(default=None, ge=20)
    recalibrate_every_outcomes: int | None = Field(default=None, ge=1)
    approval_delay_h: float = Field(default=0.0, ge=0)
    least_auroc: float = Field(default=0.0, ge=0, lt=1)
    test: Literal["prequential", "newest_quarter", "newest_failures"] = "prequential"
    test_failures: int = Field(default=20, ge=5)
    half_life_batches: float = Field(default=45.0, gt=0)
    follow_up: Literal["ignore", "leave_out", "weight"] = "ignore"
    domain_share: float = Field(default=0.02, gt=0, lt=1)
    not_worse_by: float = Field(default=0.05, gt=0, lt=0.5)
    alarm_from_h: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_interval(self) -> Policy:
        if self.retrain_every_outcomes is not None and self.retrain_every_days is not None:
            raise ValueError("give retrain_every_outcomes or retrain_every_days, not both")
        return self

    @model_validator(mode="after")
    def _recalibrated_by_given_scores(self) -> Policy:
        if self.recalibrate_every_outcomes is not None and self.test != "prequential":
            raise ValueError(f"recalibrate_every_outcomes needs test = 'prequential', not {self.test!r}")
        return self

    @property
    def outcomes(self) -> int | None:
        """Known outcomes from one training to the next; None where days decide."""
        return None if self.retrain_every_days is not None else (self.retrain_every_outcomes or OUTCOMES)

    def alarms_from_h(self, process: ProcessDefinition) -> float:
        """The hour of a batch from which it may be called elevated or high.

        At its start nothing of a batch is known but its materials and the calendar: that is shown, and alarms nobody. A
        process whose only checkpoint is the start has no later one.
        """
        if self.alarm_from_h is not None:
            return self.alarm_from_h
        later = [h for h in process.checkpoints_h if h > 0]
        return min(process.process.bin_h, *later) if later else 0.0

    def plan(self, process: ProcessDefinition) -> Plan:
        """How each model is fitted."""
        layered = self.learner == "layers" or (self.learner == "auto" and process.quality_attribute)
        return Plan(learner=self.learner, members=3 if layered else 5)


def load_policy(path: Path | str) -> Policy:
    """Read a policy from a TOML file: the keys of `[policy]`, in that table or without it.

    Raises:
        ProcessError: The file cannot be read, or has a key or a value that no policy has.
    """
    content = read_toml(Path(path))
    expected = f"keys of [policy]: {', '.join(Policy.model_fields)}"
    return validated(content.get("policy", content), Policy, str(path), whole="policy", expected=expected)
