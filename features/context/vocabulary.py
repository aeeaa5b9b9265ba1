"""Which columns the context has: the same for every month of a history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from features.context.columns import slug, table
from features.errors import ContractError
from features.process import ProcessDefinition

PHASE = "phase"  # the kind of event that marks a phase of the recipe


@dataclass(frozen=True)
class Vocabulary:
    """Names met in a whole history; sorted, so that their order shows nothing of time.

    Attributes:
        attributes: Attributes of the process definition that `batches` has a column for, in the definition's order.
        materials: Materials used.
        lot_tests: (parameter, material) of raw-material tests whose parameter may be a feature.
        metrics: (metric, cleanroom grade) of the environment.
        event_kinds: Kinds of events other than phases.
        phases: Codes of phases, those of the process definition first.
    """

    attributes: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    lot_tests: tuple[tuple[str, str], ...] = ()
    metrics: tuple[tuple[str, str], ...] = ()
    event_kinds: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()


def vocabulary(history: Mapping[str, pd.DataFrame], process: ProcessDefinition) -> Vocabulary:
    """Read the names from the whole history, once, before months are computed apart.

    Raises:
        ContractError: Two names differ only in what a feature's name cannot show, for example `Api` and `api`.
    """
    events, environment = table(history, "events"), table(history, "environment")
    batches, materials = table(history, "batches"), _names(table(history, "materials")["material"], "material")
    numeric = {p.name for p in process.features_of("sensor", "assay", "attribute") if not p.is_category}
    tests = table(history, "lot_results")[["parameter", "material"]]
    planned = tuple(p.name for p in process.phase)
    seen = _names(events.loc[events["kind"] == PHASE, "code"], "phase")
    metrics = _pairs(environment[["metric", "grade"]])
    _names([" grade ".join(pair) for pair in metrics], "environment metric")
    return Vocabulary(
        attributes=tuple(p.name for p in process.features_of("attribute") if p.name in batches.columns),
        materials=materials,
        lot_tests=tuple(pair for pair in _pairs(tests) if pair[0] in numeric and pair[1] in materials),
        metrics=metrics,
        event_kinds=_names(events.loc[events["kind"] != PHASE, "kind"], "kind of event"),
        phases=planned + tuple(code for code in seen if code not in planned),
    )


def _names(values: Iterable[str], what: str) -> tuple[str, ...]:
    by_slug: dict[str, str] = {}
    for name in sorted(set(values)):
        other = by_slug.setdefault(slug(name), name)
        if other != name:
            raise ContractError(
                f"{what} {name!r} and {other!r} would have the same feature names",
                expected="names that differ in letters or digits",
                remedy="Write one of them differently in the source.",
            )
    return tuple(sorted(by_slug.values()))


def _pairs(frame: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(frame.drop_duplicates().itertuples(index=False, name=None)))
