"""The registry's alias and tags beside the records of releases: what was moved by hand is undone, reported and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from features.errors import BatchguardError
from models.registry import Registry
from pipelines.effective import records_of
from pipelines.plant import Plant
from serving.audit import chain
from serving.audit.chain import Actor
from serving.commands import RecordsAdmin
from serving.ids import new_id, now_us
from serving.records.store import Records
from serving.release.history import releases_of, states_of

MOVED = "alias_moved"  # action of the entry


def mirror_releases(
    plant: Plant, say: Callable[[str], None], *, config: Path | None = None, expected: bool = False
) -> list[str]:
    """Set the alias `champion` and the tags as the records have them; scores never follow them.

    Args:
        plant: The process.
        config: Settings of the endpoint, which name the records; None: `endpoint.toml` in the data directory.
        say: Receives a line for each difference, and one where the registry cannot follow what was just recorded.
        expected: Whether the records have just changed, so that a difference is no hand's work.

    Returns:
        The differences that somebody made by hand.
    """
    try:
        with records_of(plant.settings, config) as records:
            found = _mirrored(plant, records)
            if expected or not found:
                return []
            if records is not None:
                _record(plant, found, config)
    except BatchguardError as error:
        if expected:  # else what follows reads the registry itself, and says so
            say(f"the registry does not mirror the releases: {error}")
        return []
    for line in found:
        say(f"{line}: set back")
    return found


def _mirrored(plant: Plant, records: Records | None) -> list[str]:
    states: Mapping[str, str] = {}
    if records is not None:
        with records.read() as connection:
            states = states_of(releases_of(connection, plant.process.id))
    effective = next((version for version, state in states.items() if state == "effective"), None)
    return Registry(plant.settings.data_dir).mirror(plant.process.id, effective, states)


def _record(plant: Plant, found: list[str], config: Path | None) -> None:
    at_us = now_us()
    actor, new = Actor("system:pipeline", "service", f"mirror-{new_id(at_us)}"), {"undone": found}
    with RecordsAdmin(plant.settings.data_dir, config) as admin:
        with admin.records.write() as (connection, now):
            chain.append(connection, now, actor, MOVED, f"registry:{plant.process.id}", at_us=at_us, new=new)
        admin.note()
