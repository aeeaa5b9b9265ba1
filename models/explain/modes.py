"""The likeliest failure mode of a batch, and the modes with too few cases for a model.

"Most like: low dose (61 %); not enough cases: sterility (3)"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.explain.words import percent


@dataclass(frozen=True)
class TopMode:
    """The failure mode that a batch is most like.

    Attributes:
        mode: The mode; empty where there is no model of a mode.
        probability: Of the mode; None where there is no model of a mode.
        not_enough_cases: Modes without a model of their own, and how many cases there are.
        sentence: All of it, to read; empty where there is nothing to say.
    """

    mode: str
    probability: float | None
    not_enough_cases: dict[str, int]
    sentence: str


def top_mode(probabilities: Mapping[str, float], *, not_enough_cases: Mapping[str, int] | None = None) -> TopMode:
    """The likeliest mode; of two alike the first by name.

    Args:
        probabilities: By mode, as the models of the modes give them; modes without a model are not in it.
        not_enough_cases: Modes without a model, and their number of cases in training.
    """
    few = dict(sorted((not_enough_cases or {}).items()))
    best = min(probabilities, key=lambda mode: (-probabilities[mode], mode), default="")
    parts = [f"most like: {_words(best)} ({percent(probabilities[best])})"] if best else []
    if few:
        parts.append("not enough cases: " + ", ".join(f"{_words(mode)} ({n})" for mode, n in few.items()))
    sentence = "; ".join(parts)
    return TopMode(best, probabilities[best] if best else None, few, sentence[:1].upper() + sentence[1:])


def _words(mode: str) -> str:
    return mode.replace("_", " ")
