"""Digests of what a model rests on beside its own files."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import features
import models
import serving
from features.process import ProcessDefinition
from serving.interfaces import canonical

_LIBRARIES = ("lightgbm", "numba", "numpy", "pandas", "scipy")


def process_digest(process: ProcessDefinition) -> str:
    """Digest of a process definition: limits, ranges, phases, outcomes."""
    return hashlib.sha256(canonical(process.model_dump(mode="json"))).hexdigest()


@cache
def features_digest() -> str:
    """Digest of the code that makes features."""
    return hashlib.sha256(canonical(_sources(Path(features.__file__).parent))).hexdigest()


@cache
def code_digest() -> str:
    """Digest of all that a score is computed with: this software's code, Python, and the libraries that do arithmetic."""
    rooms = {room.__name__: _sources(Path(str(room.__file__)).parent) for room in (features, models, serving)}
    libraries = {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}
    return hashlib.sha256(canonical([rooms, libraries])).hexdigest()


def _sources(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*.py"))
    }
