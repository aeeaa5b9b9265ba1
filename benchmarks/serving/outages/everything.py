"""All outages, one kind after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.serving.outages import databases, disks, processes, registries, releases
from benchmarks.serving.place import Place


def figures_of(place: Place) -> Iterator[dict[str, Any]]:
    """One figure of each, as it is found."""
    for part in (releases, disks, databases, processes, registries):
        yield from part.figures_of(place)
