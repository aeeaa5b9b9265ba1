"""Reads and writes the files of a bundle: no links are followed, a folder is complete or absent."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from serving.bundle.manifest import BundleError

EXPORT_AGAIN = "Export the version again with 'batchguard bundle'."
LARGEST = 512 << 20  # bytes of one file
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make the reader wait


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files below a folder by path; no link is followed.

    Raises:
        BundleError: The folder or an entry is a link, no plain file, too large, or cannot be read.
    """
    found: dict[str, bytes] = {}
    try:
        handle = os.open(folder, _FOLDER)
        try:
            _read_below(handle, "", found)
        finally:
            os.close(handle)
    except OSError as error:
        raise BundleError(f"bundle {folder.name[:12]}: {error.strerror or error}", remedy=EXPORT_AGAIN) from None
    return found


def _read_below(handle: int, path: str, found: dict[str, bytes]) -> None:
    for name in sorted(os.listdir(handle)):
        own = f"{path}{name}"
        mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and path.count("/") < 3:
            below = os.open(name, _FOLDER, dir_fd=handle)
            try:
                _read_below(below, f"{own}/", found)
            finally:
                os.close(below)
        elif stat.S_ISREG(mode):
            found[own] = _read_file(handle, name, own)
        else:
            raise BundleError(f"{own} in the bundle is a link or no plain file", remedy=EXPORT_AGAIN)


def _read_file(handle: int, name: str, path: str) -> bytes:
    with os.fdopen(os.open(name, _FILE, dir_fd=handle), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise BundleError(
                f"{path} in the bundle is no plain file of at most {LARGEST >> 20} MB", remedy=EXPORT_AGAIN
            )
        return file.read()


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files, complete or not at all; an existing folder stays as it is."""
    if folder.exists():
        return
    partial = folder.with_name(f".partial-{secrets.token_hex(8)}")
    try:
        for path, content in files.items():
            target = partial / path
            target.parent.mkdir(parents=True, exist_ok=True)
            write_durably(target, content)
        for below in {partial, *((partial / path).parent for path in files)}:
            _sync(below)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first with the same content
                raise
        _sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically: a reader sees the former or the new content, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{secrets.token_hex(8)}")
    try:
        write_durably(partial, content)
        partial.replace(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file through to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
