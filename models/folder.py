"""A folder of open files under a manifest of their digests, which is checked to the last byte before any is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from features.errors import StorageError

MANIFEST = "manifest.json"


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files and, last, the manifest: without it a folder is no predictor."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(manifest_of(files))


def add_manifest(folder: Path) -> str:
    """Write the manifest of the files that lie in a folder; its digest."""
    manifest = manifest_of({path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()})
    (folder / MANIFEST).write_bytes(manifest)
    return hashlib.sha256(manifest).hexdigest()


def read_files(folder: Path, sha256: str | None, what: str = "predictor") -> dict[str, bytes]:
    """All files that the manifest names, each with the digest it has there.

    Args:
        folder: Made by `write_files`.
        sha256: The digest that the manifest must have; None accepts any that is whole.
        what: What the folder holds, for the error.

    Raises:
        StorageError: A file is missing or was changed, or the digest is another one.
    """
    remedy = "Restore the folder from the registry, or train again."
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError:
        raise StorageError(f"{what} {folder}: {MANIFEST} is missing", remedy=remedy) from None
    digest = hashlib.sha256(manifest).hexdigest()
    if sha256 is not None and digest != sha256:
        raise StorageError(f"{what} {folder} has digest {digest[:12]}", expected=sha256[:12], remedy=remedy)
    try:
        stored = dict(json.loads(manifest)["files"])
        files = {name: (folder / Path(name).name).read_bytes() for name in stored}
    except FileNotFoundError as error:
        raise StorageError(f"{what} {folder}: {Path(str(error.filename)).name} is missing", remedy=remedy) from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"{what} {folder}: {MANIFEST} was changed after it was written", remedy=remedy) from None
    if manifest != manifest_of(files):
        wrong = [n for n, known in stored.items() if known != hashlib.sha256(files[n]).hexdigest()] or [MANIFEST]
        raise StorageError(f"{what} {folder}: {wrong[0]} was changed after it was written", remedy=remedy)
    return files


def manifest_of(files: dict[str, bytes]) -> bytes:
    """The manifest of some files: its digest addresses all of them."""
    return as_json(
        {"format": 2, "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}}
    )


def as_json(value: object) -> bytes:
    """Canonical JSON: the same value gives the same bytes.

    Raises:
        ValueError: A number is not finite.
    """
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
