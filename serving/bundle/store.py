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
from models.folder import MANIFEST as OF_PREDICTOR
from models.predictor import Predictor
from models.scoring.score import Release
from serving.bundle.bundle import CANARY, INTENDED_USE, PREDICTOR, PROCESS, THRESHOLDS, VOCABULARY, Bundle
from serving.bundle.canary import canary_of
from serving.bundle.files import EXPORT_AGAIN, BundleFolder, read_folder, read_plain_file, replace_file, write_folder
from serving.bundle.manifest import MANIFEST, SIGNATURE, BundleError, File, Manifest, sign, verify

POINTER = "current"
AHEAD_US = 300_000_000  # how far two machines' clocks may differ
_LARGEST_MANIFEST, _LARGEST_SIGNATURE = 4 << 20, 1024  # bytes
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
            released_us: The present time, microseconds UTC; where the clock was set back a little since the last release,
                the release is dated right behind that one.

        Raises:
            StorageError: The predictor is damaged, or the disk refuses.
        """
        loaded, released_us = Predictor.load(predictor), self._after_the_last(released_us, key)
        files = {f"{PREDICTOR}/{path}": content for path, content in read_folder(predictor).items()}
        files |= {
            THRESHOLDS: canonical(thresholds(loaded)),
            INTENDED_USE: canonical(intended_use(loaded, process)),
            PROCESS: canonical(process.model_dump(mode="json", include=set(COUNTED_TABLES))),
            VOCABULARY: canonical(vars(vocabulary)),
            CANARY: canary_of(loaded),
        }
        # of the files as they are: written again by this version, those of an earlier one may have other bytes
        predictor_sha256 = hashlib.sha256(files[f"{PREDICTOR}/{OF_PREDICTOR}"]).hexdigest()
        manifest = Manifest(
            release.name, release.version, release.review, released_us, process.id, process_digest(process),
            features_digest(), predictor_sha256, {path: _file(content) for path, content in sorted(files.items())},
        )  # fmt: skip
        content = manifest.to_bytes()
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            write_folder(self.root / manifest.sha256, {**files, MANIFEST: content, SIGNATURE: sign(content, key)})
            replace_file(self.root / POINTER, manifest.sha256.encode() + b"\n")
        except OSError as error:
            raise StorageError(f"{self.root}: the bundle cannot be written: {error.strerror}") from None
        return Bundle(manifest.sha256, manifest, files)

    def _after_the_last(self, released_us: int, key: Ed25519PrivateKey) -> int:
        try:
            last_us = self.read(self.pointed(), [key.public_key()]).manifest.released_us
        except BundleError:
            return released_us
        return last_us + 1 if released_us < last_us <= released_us + AHEAD_US else released_us

    def pointed(self) -> str:
        """Digest of the newest release.

        Raises:
            BundleError: The pointer is missing, or is no digest.
        """
        path = self.root / POINTER
        try:
            content = read_plain_file(path, most_bytes=70).strip()
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}", remedy=EXPORT_AGAIN) from None
        if not _DIGEST.match(content):
            raise BundleError(f"{path} names no bundle", expected="a SHA-256", remedy=EXPORT_AGAIN)
        return content.decode()

    def read(self, sha256: str, trusted: Iterable[Ed25519PublicKey]) -> Bundle:
        """A bundle, verified to its last byte: address, signature, every file, none missing and none added.

        Until the signature is verified, only manifest and signature are read; after that, only files that it names, each
        up to its size.

        Raises:
            BundleError: The bundle is not what was signed.
        """
        short, files = sha256[:12], {}
        with BundleFolder(self.root / sha256) as folder:
            content = folder.read(MANIFEST, _LARGEST_MANIFEST)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise BundleError(f"bundle {short}: its manifest was changed or is another one's", remedy=EXPORT_AGAIN)
            verify(content, folder.read(SIGNATURE, _LARGEST_SIGNATURE), trusted)
            manifest = Manifest.from_bytes(content)
            sizes = folder.sizes({*manifest.files, MANIFEST, SIGNATURE})
            for path, wanted in manifest.files.items():
                if path not in sizes:
                    raise BundleError(f"bundle {short}: {path} is missing", remedy=EXPORT_AGAIN)
                if sizes[path] == wanted.size:
                    files[path] = folder.read(path)
                if path not in files or _file(files[path]) != wanted:
                    raise BundleError(f"bundle {short}: {path} was changed", remedy=EXPORT_AGAIN)
        return Bundle(sha256, manifest, files)


def _file(content: bytes) -> File:
    return File(hashlib.sha256(content).hexdigest(), len(content))


def thresholds(predictor: Predictor) -> dict[str, JsonValue]:
    """The thresholds of the calls, and the error rates of the sets behind `low`."""
    return {"thresholds": predictor.thresholds.to_json(), "sets": predictor.decision_sets.to_json()}


def intended_use(predictor: Predictor, process: ProcessDefinition) -> dict[str, JsonValue]:
    """The question, the process, the decision points, the subgroups of training, and the limits of use.

    Args:
        predictor: The predictor to be released.
        process: The process that the predictor was made for.

    Returns:
        Plain JSON values. Subgroups are those of training with their number of batches; for a subgroup with fewer than
        `min_batches` the support is limited, without an entry there is none.
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
            "Outside the inputs' ranges, for subgroups not named here, with too much missing or stale: support is limited or none.",
            "Not for release or rejection of a batch, and not in the place of an in-process control.",
        ],
    }  # fmt: skip
