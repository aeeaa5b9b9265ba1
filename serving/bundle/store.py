"""The folder of bundles: each under its digest. Which one serves, the records say (`serving.release`).

A bundle also states the intended use and the thresholds of its model, written when it was submitted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from features.canonical import canonical
from features.context import Vocabulary
from features.digests import COUNTED_TABLES, features_digest, process_digest
from features.errors import StorageError
from features.process import ProcessDefinition
from models.folder import MANIFEST as OF_PREDICTOR
from models.predictor import Predictor
from serving.bundle.bundle import CANARY, INTENDED_USE, PREDICTOR, PROCESS, THRESHOLDS, VOCABULARY, Bundle
from serving.bundle.canary import canary_of
from serving.bundle.files import BundleFolder, read_folder, write_folder
from serving.bundle.manifest import MANIFEST, RELEASE_AGAIN, BundleError, File, Manifest
from serving.release.site_keys import TrustedKeys
from serving.release.verification import verify_seal

_LARGEST_MANIFEST = 4 << 20  # bytes


@dataclass(frozen=True)
class Version:
    """A version of the registry that is submitted.

    Attributes:
        name: Registered model.
        version: Its version in the registry.
        submission: How often it was submitted before.
    """

    name: str
    version: str
    submission: int = 0


@dataclass(frozen=True)
class BundleStore:
    """Bundles in a folder."""

    root: Path

    def write(self, predictor: Path, version: Version, process: ProcessDefinition, vocabulary: Vocabulary) -> Bundle:
        """Make the bundle of a predictor's folder; the same version gives the same address, and is written once.

        Args:
            predictor: Folder made by `Predictor.save`.
            version: Name and version of the model.
            process: The process that the predictor was made for.
            vocabulary: Names of the run history that its features were made with.

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
        # of the files as they are: written again by this version, those of an earlier one may have other bytes
        predictor_sha256 = hashlib.sha256(files[f"{PREDICTOR}/{OF_PREDICTOR}"]).hexdigest()
        manifest = Manifest(
            version.name, version.version, version.submission, process.id, process_digest(process), features_digest(),
            predictor_sha256, {path: _file(content) for path, content in sorted(files.items())},
        )  # fmt: skip
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            write_folder(self.root / manifest.sha256, {**files, MANIFEST: manifest.to_bytes()})
        except OSError as error:
            raise StorageError(f"{self.root}: the bundle cannot be written: {error.strerror}") from None
        return self.read(manifest.sha256)

    def sealed(self, sha256: str, envelope: str, trusted: Iterable[TrustedKeys]) -> Bundle:
        """A bundle whose seal is verified first: no file is opened and no payload parsed before both signatures hold.

        Raises:
            EnvelopeError: The seal is damaged, by other keys, or another bundle's.
            BundleError: The bundle is not what was sealed.
        """
        seal = verify_seal(envelope, sha256, trusted)
        bundle = self.read(sha256)
        stated = seal.statement.predicate
        held = bundle.manifest
        if (stated.process, stated.version, stated.model_sha256) != (held.process_id, held.version, held.model_sha256):
            raise BundleError(f"bundle {sha256[:12]}: its seal states another model", remedy=RELEASE_AGAIN)
        return replace(bundle, released_by=seal.released_by)

    def read(self, sha256: str) -> Bundle:
        """A bundle, verified to its last byte: address, every file, none missing and none added.

        Until its digest is the address, only the manifest is read; after that, only files that it names, each up to its
        size.

        Raises:
            BundleError: The bundle is not the one of this address.
        """
        short, files = sha256[:12], {}
        with BundleFolder(self.root / sha256) as folder:
            content = folder.read(MANIFEST, _LARGEST_MANIFEST)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise BundleError(f"bundle {short}: its manifest was changed or is another one's", remedy=RELEASE_AGAIN)
            manifest = Manifest.from_bytes(content)
            sizes = folder.sizes({*manifest.files, MANIFEST})
            for path, wanted in manifest.files.items():
                if path not in sizes:
                    raise BundleError(f"bundle {short}: {path} is missing", remedy=RELEASE_AGAIN)
                if sizes[path] == wanted.size:
                    files[path] = folder.read(path)
                if path not in files or _file(files[path]) != wanted:
                    raise BundleError(f"bundle {short}: {path} was changed", remedy=RELEASE_AGAIN)
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
