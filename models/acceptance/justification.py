"""Whether every feature that counts is justified, and none of them names a person."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import pandas as pd

from features.dictionary import Feature
from models.acceptance.criteria import FeatureReason

_PERSON = "subject|person|patient|donor|operator|user|analyst|technician"
_IDENTIFIER = re.compile(rf"^({_PERSON})_(id|key|name|code|no|number)$")
_BARE = re.compile(rf"^({_PERSON})$")
Standing = Literal["justified", "contradicts", "not justified"]


@dataclass(frozen=True)
class AssessedFeature:
    """A feature of the top, held against the justifications.

    Attributes:
        feature: Its name.
        words: Its meaning.
        learned_sign: +, -, or unclear.
        reason: The justification that fits it; None: none does.
        standing: justified; contradicts (the learnt sign is the opposite of the expected one, and no decision is written);
            not justified.
    """

    feature: str
    words: str
    learned_sign: str
    reason: FeatureReason | None
    standing: Standing

    @property
    def opposite(self) -> bool:
        """Whether the model learnt the sign that was not expected, whatever was decided about it."""
        return self.reason is not None and {self.learned_sign, self.reason.expected_sign} == {"+", "-"}

    @property
    def line(self) -> str:
        """What is missing, in one line."""
        if self.standing == "contradicts" and self.reason is not None:
            return f"{self.feature}: learnt sign {self.learned_sign}, expected {self.reason.expected_sign}, and no decision"
        return f"{self.feature}: {self.standing}"


def assess_features(top: pd.DataFrame, reasons: Sequence[FeatureReason]) -> list[AssessedFeature]:
    """Find the justification of each feature: by its name first, else the first pattern that fits.

    Args:
        top: `models.evaluation.top_features.top_features`.
        reasons: Of the acceptance criteria.
    """
    return [_assessed(row, reasons) for row in top.to_dict("records")]


def _assessed(row: dict, reasons: Sequence[FeatureReason]) -> AssessedFeature:
    name = str(row["feature"])
    named = (r for r in reasons if r.name == name)
    fitting = (r for r in reasons if r.pattern is not None and fnmatchcase(name, r.pattern))
    reason = next(named, None) or next(fitting, None)
    found = AssessedFeature(name, str(row["words"]), str(row["learned_sign"]), reason, "justified")
    if reason is None:
        return AssessedFeature(name, found.words, found.learned_sign, None, "not justified")
    if found.opposite and not reason.decision.strip():
        return AssessedFeature(name, found.words, found.learned_sign, reason, "contradicts")
    return found


def identifiers(features: Iterable[Feature], categories: Collection[str]) -> list[str]:
    """Names of the features that identify a person: by the name of their parameter, or as a category of persons.

    Counts about persons (earlier batches of an operator) identify nobody and are none.

    Args:
        features: Of the predictor.
        categories: Names of those whose values are categories.
    """
    return [
        entry.name
        for entry in features
        if _IDENTIFIER.match(entry.parameter) or (_BARE.match(entry.parameter) and entry.name in categories)
    ]
