"""Models the endpoint may speak with: folders of open files named by their digest, and which of them is the newest release.

`FOLDER/<sha256>/predictor/` holds the predictor, `release.json` who it is, `process.json` the process it was made for;
`FOLDER/current` holds the digest that speaks. Files are written beside and renamed, so a reader sees the old or the new.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import orjson
from pydantic import ValidationError

from features.errors import BatchguardError
from features.process import ProcessDefinition
from models.predictor import Predictor
from serving.bulk_engine import BulkEngine
from serving.desk.memory import EngineMaker
from serving.scorer import Release
from serving.seam import Engine, EngineError


def publish(folder: Path, predictor: Predictor, release: Release, process: ProcessDefinition) -> Path:
    """Put a model where the endpoint finds it, and let it speak from its next start on.

    Returns:
        The model's folder.
    """
    target = folder / predictor.sha256
    if not target.exists():
        beside = folder / f".{predictor.sha256}.{os.getpid()}"
        predictor.save(beside / "predictor")
        (beside / "process.json").write_text(process.model_dump_json(), encoding="utf-8")
        (beside / "release.json").write_bytes(orjson.dumps(asdict(release)))
        beside.rename(target)
    pointer = folder / f".current.{os.getpid()}"
    pointer.write_text(predictor.sha256, encoding="ascii")
    pointer.replace(folder / "current")
    return target


def engines(folder: Path) -> EngineMaker:
    """Makes engines over the models of a folder."""

    def make(sha256: str | None) -> Engine:
        return _engine(folder, sha256 or _current(folder))

    return make


def _current(folder: Path) -> str:
    try:
        return (folder / "current").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise EngineError(f"no model in {folder}", remedy="Run 'batchguard serve' where one is registered.") from None


def _engine(folder: Path, sha256: str) -> Engine:
    if len(sha256) != 64 or not all(c in "0123456789abcdef" for c in sha256):
        raise EngineError(f"{folder / 'current'} holds no digest", remedy="Run 'batchguard serve' again.")
    try:
        predictor = Predictor.load(folder / sha256 / "predictor", sha256=sha256)
        process = ProcessDefinition.model_validate_json((folder / sha256 / "process.json").read_bytes())
        release = Release(**orjson.loads((folder / sha256 / "release.json").read_bytes()))
    except (OSError, ValidationError, TypeError, orjson.JSONDecodeError, BatchguardError) as error:
        raise EngineError(f"model {sha256[:12]} cannot be used: {error}") from None
    return BulkEngine(predictor, release, process)
