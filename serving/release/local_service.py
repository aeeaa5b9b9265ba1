"""The release service over a data directory, for the command line: persons by API keys or tokens, keys in files."""

from __future__ import annotations

from pathlib import Path

from serving.access.key_ring import KeyRing
from serving.access.principals import Principal, UnauthenticatedError
from serving.access.tokens import Tokens
from serving.bundle.store import BundleStore
from serving.commands import RecordsAdmin
from serving.model_releases import KEYS
from serving.release.history import ReleaseStatus, open_release
from serving.release.service import ReleaseService
from serving.release.signatures import Signers
from serving.release.states import ReleaseError

_SHORTEST = 8  # characters of a release id


def signers_of(admin: RecordsAdmin) -> Signers:
    """What verifies persons: their API keys, and tokens where the endpoint's settings name a provider."""
    keys, identity = KeyRing(admin.records), admin.settings.identity
    tokens = None if identity is None else Tokens(identity)

    def verify(credential: str) -> Principal:
        if credential.startswith("bg_"):
            return keys.principal(credential)
        if tokens is None:
            raise UnauthenticatedError("the secret is no API key", remedy="'batchguard keys add' makes one.")
        return tokens.principal(credential)

    return Signers(admin.records, verify)


def service_of(admin: RecordsAdmin, data_dir: Path, bundles: Path, process_id: str) -> ReleaseService:
    """The release service of a process."""
    return ReleaseService(admin.records, BundleStore(bundles), process_id, signers_of(admin), data_dir / KEYS)


def named(service: ReleaseService, text: str) -> ReleaseStatus:
    """The release that a person names: by the version of the model, or by the beginning of its id.

    Raises:
        ReleaseError: No release is meant, or several.
    """
    found = service.all()
    of_version = [each for each in found if each.version == text]
    if of_version:
        return open_release(of_version, text) or of_version[-1]
    by_id = [each for each in found if len(text) >= _SHORTEST and each.release_id.startswith(text)]
    if len(by_id) != 1:
        raise ReleaseError(
            f"no release of {service.process_id!r} is named {text!r}",
            expected=f"a version that was submitted, or the first {_SHORTEST} or more characters of a release id",
            remedy="'batchguard release status' shows all.",
        )
    return by_id[0]
