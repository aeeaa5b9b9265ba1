"""What a filed report must say of itself: what it is, when it was made, by which software, from which test."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from models.evaluation.evaluate import Evaluation
from models.predictor import Predictor


@dataclass(frozen=True)
class Imprint:
    """Facts of a report that its figures do not hold.

    Attributes:
        made_at: When it was made, UTC.
        software: Name and version of the software that made it.
    """

    made_at: pd.Timestamp
    software: str

    @property
    def date(self) -> str:
        """The moment it was made, in words."""
        return f"{self.made_at:%-d %B %Y, %H:%M} UTC"


def kind_of_report(evaluation: Evaluation) -> str:
    """What the report is called. With a simulated batch among the rows it verifies software, whatever else it holds."""
    if evaluation.simulated:
        return "verification on simulated data"
    return "validation report" if evaluation.read_test else "development report"


def facts(imprint: Imprint | None, predictor: Predictor, evaluation: Evaluation) -> dict[str, str]:
    """Lines at the head of a report, by name."""
    made = {} if imprint is None else {"Made": imprint.date, "Software": imprint.software}
    return made | {
        "Kind": kind_of_report(evaluation),
        "Process": f"{predictor.process_id}, definition version {predictor.process_version}",
        "Model": f"predictor {predictor.sha256}",
        "Test": readings_in_words(evaluation),
    }


def readings_in_words(evaluation: Evaluation) -> str:
    """Whether the test was read, under which criteria, and how often."""
    if not evaluation.read_test:
        return "not read: intended use and acceptance criteria were not both signed"
    if not evaluation.criteria_sha256:
        return "read without signed acceptance criteria"
    times = "once" if evaluation.readings == 1 else f"{evaluation.readings} times"
    return f"read {times} according to the ledger; acceptance criteria {evaluation.criteria_sha256}"
