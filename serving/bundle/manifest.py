"""The manifest of a bundle: what it holds, with the SHA-256 of each file; its own digest is the id of the release."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import orjson

from features.canonical import canonical
from features.errors import StorageError

FORMAT = 2  # 1: versions up to 0.2.0, signed by one key
MANIFEST = "manifest.json"
RELEASE_AGAIN = "Release the version again: 'batchguard release submit'."
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,3}$")


class BundleError(StorageError):
    """A bundle that must not be used: damaged, not released, made with other code, or failing its canary."""


@dataclass(frozen=True)
class File:
    """Digest and size of a file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The content of a release, which both signatures name by its digest.

    Attributes:
        name: Registered model.
        version: Its version in the registry.
        submission: How often the version was submitted before: a version that was rejected or retired gets another address.
        process_id: Process that the model was made for.
        process_sha256: Digest of the process definition among the files.
        features_sha256: Digest of the code that has to make its features.
        model_sha256: Digest of the predictor's own manifest.
        files: Digest and size by path inside the bundle.
    """

    name: str
    version: str
    submission: int
    process_id: str
    process_sha256: str
    features_sha256: str
    model_sha256: str
    files: Mapping[str, File]

    def to_bytes(self) -> bytes:
        """The canonical bytes, whose digest is the address."""
        return canonical({"format": FORMAT, **asdict(self)})

    @property
    def sha256(self) -> str:
        """Address of the bundle."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def digest_of(self, path: str) -> str | None:
        """Digest of a file; None if there is no file of that name."""
        return self.files[path].sha256 if path in self.files else None

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read a manifest whose digest was verified.

        Raises:
            BundleError: The bytes are no manifest, or one of another format.
        """
        try:
            data = orjson.loads(content)
            if data.pop("format") != FORMAT:
                raise BundleError(
                    "the bundle was made by another version of batchguard",
                    expected=f"format {FORMAT}",
                    remedy=RELEASE_AGAIN,
                )
            files = {str(path): File(**entry) for path, entry in data.pop("files").items()}
            manifest = cls(**data, files=files)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise BundleError("the manifest of the bundle cannot be read") from None
        if any(not _NAME.match(path) for path in files) or manifest.to_bytes() != content:
            raise BundleError("the manifest of the bundle is not as this software writes it")
        return manifest
