"""Digest of all that a score is computed with."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import features
import models
import serving
from features.canonical import digest
from features.digests import module_digests

_LIBRARIES = ("lightgbm", "numba", "numpy", "pandas", "scipy")


@cache
def code_digest() -> str:
    """Digest of all that a score is computed with: the code that runs, Python, and the libraries that do arithmetic."""
    code = {
        package.__name__: module_digests(Path(str(package.__file__)).parent) for package in (features, models, serving)
    }
    libraries = {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}
    return digest([code, libraries])
