"""Files that only their owner may read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def keep_private(paths: Iterable[Path]) -> None:
    """Take the permissions of group and others from files; those that are missing or not ours stay as they are."""
    for path in paths:
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode & 0o777
            if mode & 0o077:
                path.chmod(mode & 0o700)
