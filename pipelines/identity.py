"""Which process a data directory holds under an id: another process with the same id is refused before it does anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

from features.errors import BatchguardError
from features.process import ProcessDefinition

_FILE = "process.json"


def check_identity(data_dir: Path, process: ProcessDefinition) -> None:
    """Note the process at its first use of a data directory, and refuse another one of the same id.

    The process is another one where its name differs, or where none of its parameters is one of the former.

    Args:
        data_dir: Where everything is kept.
        process: The process definition.

    Raises:
        BatchguardError: The directory holds another process under this id.
    """
    path = data_dir / "history" / process.id / _FILE
    own = {"name": process.process.name, "parameters": sorted(process.by_name)}
    held = _read(path)
    if held == own:
        return
    shared = set(own["parameters"]) & set((held or own)["parameters"])
    if held is not None and (held["name"] != own["name"] or not shared):
        raise BatchguardError(
            f"{data_dir} holds the process {held['name']!r} under the id {process.id!r}, and this one is {own['name']!r}",
            expected="an id of its own for every process",
            remedy=f"Change [process] id, or name another data directory; if it is the same process, remove {path}.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_FILE}.{os.getpid()}")
    temporary.write_text(json.dumps(own), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict | None:
    """The process that is noted; None where nothing legible is."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {"name": str(held["name"]), "parameters": [str(name) for name in held["parameters"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
