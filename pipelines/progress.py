"""Lines about what a run is doing and how far it is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager

PROGRESS = "batchguard.progress"  # logger of the lines
FEW = 12
Say = Callable[[str], None]

DOING = {
    "run_history": "reading and checking the source",
    "batch_summaries": "summarising the observations",
    "snapshot_features": "computing features at the checkpoints, and checking them for leakage",
    "in_progress_features": "computing features of the batches in progress",
    "field_replay": "replaying the history on the calendar",
    "test_set": "deciding which batches are the test",
    "training_set": "selecting the batches that may train",
    "challenger_and_report": "training a predictor, and testing it once",
    "serving_model": "selecting the model that scores",
    "risk_scores": "scoring the batches in progress",
    "score_monitoring": "comparing the newest data with the training set",
}
"""What each step of a job does, by the name of its asset."""


def in_tenths(say: Say) -> Callable[[str, int, int], None]:
    """Say "what: done of all" for every unit of a dozen, and at most ten times where there are more."""

    def report(what: str, done: int, of: int) -> None:
        every = 1 if of <= FEW else math.ceil(of / 10)
        if done == of or done % every == 0:
            say(f"{what}: {done} of {of}")

    return report


@contextmanager
def progress_to(say: Say, n_steps: int) -> Generator[None]:
    """Hand over each step of a Dagster run as it starts, and the lines of its assets.

    Args:
        say: Receives a line.
        n_steps: Steps of the job.
    """
    logger, handler = logging.getLogger(PROGRESS), _Forwarder(say, n_steps)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Forwarder(logging.Handler):
    def __init__(self, say: Say, n_steps: int) -> None:
        super().__init__()
        self._say, self._n_steps = say, n_steps
        self._started: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {}) or {}
        event = meta.get("dagster_event")
        if event is not None and event.event_type_value == "STEP_START":
            step = str(event.step_key).partition(".")[0]  # an asset of several steps counts as one
            if step not in self._started:
                self._started.add(step)
                self._say(f"step {len(self._started)} of {self._n_steps}: {DOING.get(step, step)}")
        elif event is None and logging.INFO <= record.levelno < logging.ERROR:  # errors are raised
            self._say(f"  {meta.get('orig_message') or record.getMessage()}")
