"""Reads and writes the files of a bundle: no links are followed, a folder is complete or absent."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Generator, Mapping
from pathlib import Path

from serving.bundle.manifest import RELEASE_AGAIN, BundleError

LARGEST = 512 << 20  # bytes of one file
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make the reader wait


class BundleFolder:
    """A folder of a bundle, opened once: nothing is read that was not asked for, no link is followed, no pipe waited for.

    Args:
        folder: The folder.

    Raises:
        BundleError: The folder is a link, or cannot be read; so do all methods.
    """

    def __init__(self, folder: Path) -> None:
        self._short = folder.name[:12]
        with self._as_bundle_error():
            self._handle = os.open(folder, _FOLDER)

    def __enter__(self) -> BundleFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def sizes(self, expected: Collection[str] | None = None) -> dict[str, int]:
        """Size of every file in bytes by path, without reading any; all are plain files of at most `LARGEST` bytes.

        Args:
            expected: Paths of the files; the first other one found is an error. None: any.
        """
        with self._as_bundle_error():
            return dict(self._below(self._handle, "", expected))

    def read(self, path: str, most_bytes: int = LARGEST) -> bytes:
        """Content of a file.

        Args:
            path: Inside the folder.
            most_bytes: A larger file is an error.
        """
        *folders, name = path.split("/")
        with self._as_bundle_error(), contextlib.ExitStack() as opened:
            handle = self._handle
            for folder in folders:
                handle = os.open(folder, _FOLDER, dir_fd=handle)
                opened.callback(os.close, handle)
            return _read_plain(os.open(name, _FILE, dir_fd=handle), f"{path} in the bundle", most_bytes)

    def _below(self, handle: int, path: str, expected: Collection[str] | None) -> Generator[tuple[str, int]]:
        for name in sorted(os.listdir(handle)):
            own, status = f"{path}{name}", os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) and path.count("/") < 3:
                below = os.open(name, _FOLDER, dir_fd=handle)
                try:
                    yield from self._below(below, f"{own}/", expected)
                finally:
                    os.close(below)
                continue
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{own} in the bundle is a link or no plain file", remedy=RELEASE_AGAIN)
            if expected is not None and own not in expected:
                raise BundleError(f"bundle {self._short}: {own} was added", remedy=RELEASE_AGAIN)
            if status.st_size > LARGEST:
                raise BundleError(f"{own} in the bundle is larger than {LARGEST >> 20} MB", remedy=RELEASE_AGAIN)
            yield own, status.st_size

    @contextlib.contextmanager
    def _as_bundle_error(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise BundleError(f"bundle {self._short}: {error.strerror or error}", remedy=RELEASE_AGAIN) from None


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files below a folder of our own by path; no link is followed.

    Raises:
        BundleError: The folder or an entry is a link, no plain file, too large, or cannot be read.
    """
    with BundleFolder(folder) as opened:
        return {path: opened.read(path) for path in opened.sizes()}


def _read_plain(handle: int, name: str, most_bytes: int) -> bytes:
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BundleError(f"{name} is no plain file", remedy=RELEASE_AGAIN)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise BundleError(f"{name} is larger than {most_bytes:,} bytes", remedy=RELEASE_AGAIN)
    return content


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
