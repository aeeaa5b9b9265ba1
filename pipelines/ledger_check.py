"""The ledger of test readings against its chain and against the lines that runs of registered versions name."""

from __future__ import annotations

from collections.abc import Iterator

from models.cohort.reading_chain import digests_of, faults_of
from models.registry import RegisteredModel, Registry
from pipelines.plant import Plant

_REMEDY = "Restore the ledger from a backup; keep this line with the records of the deviation."
_TAG = "test_reading."  # before the beginning of a line's digest


def note_reading(plant: Plant, registry: Registry, model: RegisteredModel) -> None:
    """Note the newest line of the ledger at the run of a version, beside those noted before: none may leave the ledger."""
    for digest in digests_of(plant.ledger)[-1:]:
        registry.note(model, f"{_TAG}{digest[:16]}", digest)


def ledger_faults(plant: Plant, registry: Registry) -> Iterator[str]:
    """One line for each fault of the chain, and for each line that a run names and that is not there.

    Raises:
        StorageError: The registry cannot be read.
    """
    yield from (f"{fault}. {_REMEDY}" for fault in faults_of(plant.ledger))
    there = set(digests_of(plant.ledger))
    for model in registry.all(plant.process.id):
        noted = (digest for name, digest in registry.tags(model).items() if name.startswith(_TAG))
        for digest in sorted(set(noted) - there):
            line = f"{plant.ledger}: the line {digest[:12]} that model version {model.version} names is not there"
            yield f"{line}. {_REMEDY}"
