"""Digests of what a model rests on beside its own files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import features
from features.process import ProcessDefinition
from serving.seam import canonical


def process_digest(process: ProcessDefinition) -> str:
    """Digest of a process definition: limits, ranges, phases, outcomes."""
    return hashlib.sha256(canonical(process.model_dump(mode="json"))).hexdigest()


@cache
def features_digest() -> str:
    """Digest of the code that makes features."""
    root = Path(features.__file__).parent
    files = {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*.py"))}
    return hashlib.sha256(canonical(files)).hexdigest()
