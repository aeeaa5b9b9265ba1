"""The manifest of a bundle: SHA-256s of its files, and an Ed25519 signature over the manifest (RFC 8032)."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.canonical import canonical
from features.errors import StorageError

FORMAT = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
_LARGEST_KEY = 64 << 10  # bytes
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,3}$")


class BundleError(StorageError):
    """A bundle that must not be used: damaged, unsigned, older than one that was used, or failing its canary."""


@dataclass(frozen=True)
class File:
    """Digest and size of a file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The signed content of a release.

    Attributes:
        name: Registered model.
        version: Its version in the registry.
        review: Whether a person released it.
        released_us: Time of the export, microseconds UTC; a later release replaces an earlier one.
        process_id: Process that the model was made for.
        process_sha256: Digest of the process definition among the files.
        features_sha256: Digest of the code that has to make its features.
        model_sha256: Digest of the predictor's own manifest.
        files: Digest and size by path inside the bundle.
    """

    name: str
    version: str
    review: Literal["unreviewed", "released"]
    released_us: int
    process_id: str
    process_sha256: str
    features_sha256: str
    model_sha256: str
    files: Mapping[str, File]

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed and hashed."""
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
        """Read a manifest whose signature was verified.

        Raises:
            BundleError: The bytes are no manifest, or one of another format.
        """
        try:
            data = orjson.loads(content)
            if data.pop("format") != FORMAT:
                raise BundleError("the bundle has another format", expected=f"format {FORMAT}")
            files = {str(path): File(**entry) for path, entry in data.pop("files").items()}
            manifest = cls(**data, files=files)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise BundleError("the manifest of the bundle cannot be read") from None
        if any(not _NAME.match(path) for path in files) or manifest.to_bytes() != content:
            raise BundleError("the manifest of the bundle is not as this software writes it")
        return manifest


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """The signature of a manifest, 64 bytes."""
    return key.sign(manifest)


def verify(manifest: bytes, signature: bytes, trusted: Iterable[Ed25519PublicKey]) -> None:
    """Check that one of the trusted keys signed these bytes.

    Raises:
        BundleError: None of them did.
    """
    for key in trusted:
        try:
            key.verify(signature, manifest)
        except InvalidSignature:
            continue
        return
    raise BundleError(
        "no trusted key has signed the bundle",
        expected="a signature by a key of the folder of trusted keys",
        remedy="Export it with the release key, or trust its public key.",
    )


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key of a PEM file that only its owner may read; a missing file is created with a new key.

    Raises:
        StorageError: The file holds no Ed25519 key, or others may read it.
    """
    if not path.exists():
        _make_key(path)
    if path.stat().st_mode & 0o077:
        raise StorageError(f"{path}: others may read this private key", remedy=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(_pem(path), password=None)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError(f"{path}: not an Ed25519 private key in PEM", remedy="Name the release key.")
    return key


def trusted_keys(folder: Path) -> tuple[Ed25519PublicKey, ...]:
    """The public keys (`*.pub`, PEM) of a folder.

    Raises:
        StorageError: A file holds no Ed25519 key, or the folder has none.
    """
    keys = []
    for path in sorted(folder.glob("*.pub")):
        try:
            key = serialization.load_pem_public_key(_pem(path))
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise StorageError(f"{path}: not an Ed25519 public key in PEM", remedy="Remove it from the trusted keys.")
        keys.append(key)
    if not keys:
        raise StorageError(
            f"{folder}: no trusted key", remedy="Run 'batchguard bundle', or copy the release key's .pub."
        )
    return tuple(keys)


def _pem(path: Path) -> bytes:
    """Content of a file of a key, which may be a link; empty for a pipe, a device, or something large."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        return file.read() if plain and os.fstat(file.fileno()).st_size <= _LARGEST_KEY else b""


def _make_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
