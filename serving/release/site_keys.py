"""The keys that seal a release: one of the authors, one of the approvers, each in files of the data directory.

A key may also lie in a hardware store: whatever has a `key_id` and signs bytes is a `SigningKey`, and only the public half
has to be a file. The endpoint needs public keys alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.errors import StorageError
from serving.release.states import ReleaseError

KeyRole = Literal["author", "approver"]
KeyKind = Literal["site", "demo"]
KEY_ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
_PREFIX: Mapping[KeyKind, str] = {"site": "", "demo": "demo-"}
_LARGEST = 64 << 10  # bytes
_PEM, _PLAIN = serialization.Encoding.PEM, serialization.NoEncryption()


class SigningKey(Protocol):
    """Signs; the private key may be in a hardware store (PKCS#11)."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key, as `key_id_of` computes it."""
        ...

    def sign(self, content: bytes, /) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        ...


@dataclass(frozen=True)
class FileKey:
    """A key of a PEM file."""

    private: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key."""
        return key_id_of(self.private.public_key())

    def sign(self, content: bytes, /) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return self.private.sign(content)


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys of one kind by role and id; a former key of a role stays trusted as `ROLE-NAME.pub`."""

    kind: KeyKind
    author: Mapping[str, Ed25519PublicKey]
    approver: Mapping[str, Ed25519PublicKey]


def key_id_of(key: Ed25519PublicKey) -> str:
    """SHA-256 of the key as DER SubjectPublicKeyInfo, hexadecimal."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def make_keys(folder: Path, kind: KeyKind = "site") -> dict[KeyRole, str]:
    """Make the two keys of a kind: `ROLE.pem` for its owner alone and `ROLE.pub` beside it.

    Returns:
        Id of the key by role.

    Raises:
        ReleaseError: One of the files exists; nothing was written.
        StorageError: The folder cannot be written.
    """
    private = {role: _path(folder, kind, role) for role in KEY_ROLES}
    for path in private.values():
        for there in (path, path.with_suffix(".pub")):
            if os.path.lexists(there):
                raise ReleaseError(
                    f"{there} exists", expected="a folder without keys of this name",
                    remedy="Keep it; to use a new key, first rename author.pub to author-FORMER.pub and so on.",
                )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return {role: _make(path) for role, path in private.items()}
    except OSError as error:
        raise StorageError(f"{folder}: keys cannot be written ({error.strerror})") from None


def signing_key(folder: Path, role: KeyRole, kind: KeyKind = "site") -> FileKey:
    """The private key of a role.

    Raises:
        StorageError: The file is missing, holds no Ed25519 key, or others may read it.
    """
    path = _path(folder, kind, role)
    if not path.exists():
        raise StorageError(f"{path}: there is no such key", remedy="Run 'batchguard release init-keys'.")
    if path.stat().st_mode & 0o077:
        raise StorageError(f"{path}: others may read this private key", remedy=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError(f"{path}: not an Ed25519 private key in PEM", remedy="Restore the key of this role.")
    return FileKey(key)


def trusted_keys(folder: Path) -> tuple[TrustedKeys, ...]:
    """The public keys of a folder: site keys, and demo keys where a demo made them.

    Raises:
        StorageError: A file holds no Ed25519 key, or a role of both kinds has none.
    """
    found = tuple(
        TrustedKeys(kind, *(_public(folder, f"{prefix}{role}") for role in KEY_ROLES))
        for kind, prefix in _PREFIX.items()
    )
    usable = tuple(keys for keys in found if keys.author and keys.approver)
    if not usable:
        raise StorageError(
            f"{folder}: no trusted keys of author and approver",
            remedy="Run 'batchguard release init-keys', or copy author.pub and approver.pub.",
        )
    return usable


def _public(folder: Path, name: str) -> dict[str, Ed25519PublicKey]:
    keys = {}
    for path in sorted({*folder.glob(f"{name}.pub"), *folder.glob(f"{name}-*.pub")}):
        try:
            key = serialization.load_pem_public_key(_content(path))
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise StorageError(f"{path}: not an Ed25519 public key in PEM", remedy="Remove it from the trusted keys.")
        keys[key_id_of(key)] = key
    return keys


def _path(folder: Path, kind: KeyKind, role: KeyRole) -> Path:
    return folder / f"{_PREFIX[kind]}{role}.pem"


def _make(path: Path) -> str:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with os.fdopen(os.open(path.with_suffix(".pub"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
        file.write(public)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, _PLAIN))
    return key_id_of(key.public_key())


def _content(path: Path) -> bytes:
    """Content of a file of a key, which may be a link; empty for a pipe, a device, something large or unreadable."""
    with (
        contextlib.suppress(OSError),
        os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file,
    ):
        status = os.fstat(file.fileno())
        return file.read() if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST else b""
    return b""
