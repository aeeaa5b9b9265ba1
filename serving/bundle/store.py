"""The folder of bundles: each under its digest, and a pointer to the newest release.

A bundle also states the intended use and the thresholds of its model: written at the export, and signed with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import JsonValue

from features.canonical import canonical
from features.context import Vocabulary
from features.digests import COUNTED_TABLES, features_digest, process_digest
from features.errors import StorageError
from features.process import ProcessDefinition
from models.predictor import Predictor
from models.scoring.score import Release
from serving.bundle.bundle import CANARY, INTENDED_USE, PREDICTOR, PROCESS, THRESHOLDS, VOCABULARY, Bundle
from serving.bundle.canary import canary_of
from serving.bundle.files import EXPORT_AGAIN, read_folder, replace_file, write_folder
from serving.bundle.manifest import MANIFEST, SIGNATURE, BundleError, File, Manifest, sign, verify

POINTER = "current"
_DIGEST = re.compile(rb"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class BundleStore:
    """Bundles in a folder."""

    root: Path

    def export(
        self,
        predictor: Path,
        release: Release,
        process: ProcessDefinition,
        vocabulary: Vocabulary,
        key: Ed25519PrivateKey,
        *,
        released_us: int,
    ) -> Bundle:
        """Make a signed bundle of a predictor's folder and point to it.

        Args:
            predictor: Folder made by `Predictor.save`.
            release: Name and version of the model, and whether a person released it.
            process: The process that the predictor was made for.
            vocabulary: Names of the run history that its features were made with.
            key: The key that signs.
            released_us: The present time, microseconds UTC.

        Raises:
            StorageError: The predictor is damaged, or the disk refuses.
        """
        loaded = Predictor.load(predictor)
        files = {f"{PREDICTOR}/{path}": content for path, content in read_folder(predictor).items()}
        files |= {
            THRESHOLDS: canonical(thresholds(loaded)),
            INTENDED_USE: canonical(intended_use(loaded, process)),
            PROCESS: canonical(process.model_dump(mode="json", include=set(COUNTED_TABLES))),
            VOCABULARY: canonical(vars(vocabulary)),
            CANARY: canary_of(loaded),
        }
        manifest = Manifest(
            release.name, release.version, release.review, released_us, process.id, process_digest(process),
            features_digest(), loaded.sha256, {path: _file(content) for path, content in sorted(files.items())},
        )  # fmt: skip
        content = manifest.to_bytes()
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            write_folder(self.root / manifest.sha256, {**files, MANIFEST: content, SIGNATURE: sign(content, key)})
            replace_file(self.root / POINTER, manifest.sha256.encode() + b"\n")
        except OSError as error:
            raise StorageError(f"{self.root}: the bundle cannot be written: {error.strerror}") from None
        return Bundle(manifest.sha256, manifest, files)

    def pointed(self) -> str:
        """Digest of the newest release.

        Raises:
            BundleError: The pointer is missing, or is no digest.
        """
        path = self.root / POINTER
        try:
            if path.is_symlink():
                raise BundleError(f"{path} is a link", remedy=EXPORT_AGAIN)
            content = path.read_bytes()[:70].strip()
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}", remedy=EXPORT_AGAIN) from None
        if not _DIGEST.match(content):
            raise BundleError(f"{path} names no bundle", expected="a SHA-256", remedy=EXPORT_AGAIN)
        return content.decode()

    def read(self, sha256: str, trusted: Iterable[Ed25519PublicKey]) -> Bundle:
        """A bundle, verified to its last byte: address, signature, every file, none missing and none added.

        Raises:
            BundleError: The bundle is not what was signed.
        """
        files = read_folder(self.root / sha256)
        content, signature = files.pop(MANIFEST, b""), files.pop(SIGNATURE, b"")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BundleError(
                f"bundle {sha256[:12]}: its manifest was changed or is another one's", remedy=EXPORT_AGAIN
            )
        verify(content, signature, trusted)
        manifest = Manifest.from_bytes(content)
        for path in sorted(set(files) ^ set(manifest.files)):
            what = "is missing" if path in manifest.files else "was added"
            raise BundleError(f"bundle {sha256[:12]}: {path} {what}", remedy=EXPORT_AGAIN)
        for path, wanted in manifest.files.items():
            if _file(files[path]) != wanted:
                raise BundleError(f"bundle {sha256[:12]}: {path} was changed", remedy=EXPORT_AGAIN)
        return Bundle(sha256, manifest, files)


def _file(content: bytes) -> File:
    return File(hashlib.sha256(content).hexdigest(), len(content))


def thresholds(predictor: Predictor) -> dict[str, JsonValue]:
    """The thresholds of the decision, and the error rates behind `undecided`."""
    return {"thresholds": predictor.thresholds.to_json(), "sets": predictor.decision_sets.to_json()}


def intended_use(predictor: Predictor, process: ProcessDefinition) -> dict[str, JsonValue]:
    """The question, the process, the decision points, the subgroups of training, and the limits of use.

    Args:
        predictor: The predictor to be released.
        process: The process that the predictor was made for.

    Returns:
        Plain JSON values. Subgroups are those of training with their number of batches; for a subgroup with fewer than
        `min_batches`, or without an entry, the decision is `undecided`.
    """
    outcome, domain = process.outcome, predictor.applicability
    inputs = sorted({feature.parameter for feature in predictor.features})
    known = {parameter.name: parameter for parameter in process.parameter}
    return {
        "question": f"Will the batch in progress fail ({outcome.label_rule or ', '.join(outcome.failed)})?",
        "use": "Decision support beside the plant's own rules. It never changes a batch's status: a person decides.",
        "process_id": predictor.process_id,
        "process_version": predictor.process_version,
        "decision_points_h": list(process.checkpoints_h),
        "subgroups": {} if domain is None else {name: dict(sizes) for name, sizes in domain.support.items()},
        "min_batches": None if domain is None else domain.min_batches,
        "inputs": [
            {"parameter": name, "unit": known[name].unit, "range": list(known[name].range)} for name in inputs if name in known
        ],
        "limits": [
            "Outside the inputs' ranges, for subgroups not named here, with too much missing or stale: undecided.",
            "Not for release or rejection of a batch, and not in the place of an in-process control.",
        ],
    }  # fmt: skip
