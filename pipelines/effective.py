"""The version that the records call effective, with its seal verified."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from features.errors import StorageError
from models.scoring.score import ReleasedBy
from pipelines.bundle_export import bundles_of
from pipelines.settings import Settings
from serving.model_releases import KEYS
from serving.records.store import Records, sqlite_file
from serving.release.history import effective
from serving.release.site_keys import trusted_keys
from serving.release.verification import verify_seal
from serving.settings import load_settings


@dataclass(frozen=True)
class EffectiveVersion:
    """The effective version of a process.

    Attributes:
        version: Of the registry.
        release_id: Digest of its bundle's manifest.
        released_by: Whose keys sealed it.
        model_sha256: Digest of the predictor that was sealed.
        process_sha256: Digest of the process definition that was sealed with it.
        features_sha256: Digest of the feature code that it was released with.
    """

    version: str
    release_id: str
    released_by: ReleasedBy
    model_sha256: str
    process_sha256: str
    features_sha256: str


@contextlib.contextmanager
def records_of(settings: Settings, config: Path | None = None) -> Generator[Records | None]:
    """The records of a data directory, brought to the newest shape; None where nobody has made any.

    Raises:
        StorageError: They cannot be reached, or are of a newer version.
    """
    url = load_settings(settings.data_dir, config).records_url
    file = sqlite_file(url)
    if file is not None and not file.exists():
        yield None
        return
    records = Records(url)
    try:
        records.prepare()
        yield records
    finally:
        records.close()


def effective_version(settings: Settings, process_id: str) -> EffectiveVersion | None:
    """The effective version; None: nobody has released one.

    Raises:
        StorageError: The records cannot be read.
        EnvelopeError: The seal is damaged, or by keys that are not trusted.
        BundleError: The bundle was changed.
    """
    with records_of(settings) as records:
        if records is None:
            return None
        with records.read() as connection:
            found = effective(connection, process_id)
    if found is None:
        return None
    seal = verify_seal(found.envelope, found.release_id, trusted_keys(settings.data_dir / KEYS))
    stated = seal.statement.predicate
    if (stated.process, stated.version) != (process_id, found.version):
        raise StorageError(
            f"the seal of the effective release is about version {stated.version} of {stated.process!r}",
            expected=f"version {found.version} of {process_id!r}", remedy="Run 'batchguard audit verify'.",
        )  # fmt: skip
    sealed = bundles_of(settings, process_id).read(found.release_id).manifest
    return EffectiveVersion(
        found.version,
        found.release_id,
        seal.released_by,
        stated.model_sha256,
        sealed.process_sha256,
        sealed.features_sha256,
    )
