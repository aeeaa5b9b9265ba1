"""A bundle in memory, verified to its last byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import JsonValue

from features.context import Vocabulary
from features.digests import features_digest, process_digest
from features.errors import ProcessError
from features.process import ProcessDefinition
from models.scoring.score import ReleasedBy
from serving.bundle.manifest import RELEASE_AGAIN, BundleError, Manifest

PREDICTOR, PROCESS, VOCABULARY, CANARY = "predictor", "process.json", "vocabulary.json", "canary.json"
THRESHOLDS, INTENDED_USE = "thresholds.json", "intended_use.json"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        sha256: Address of the bundle, the digest of its manifest, and the id of its release.
        manifest: The manifest.
        files: Verified files by path; nothing is read from the folder again.
        released_by: Whose keys sealed it; None: no seal was verified, and it must not serve.
    """

    sha256: str
    manifest: Manifest
    files: Mapping[str, bytes]
    released_by: ReleasedBy | None = None

    @property
    def process(self) -> ProcessDefinition:
        """The process definition that the model was made for.

        Raises:
            BundleError: This software cannot read the definition, or reads it otherwise than it was signed.
        """
        try:
            process = ProcessDefinition.model_validate_json(self.files[PROCESS])
        except (ValueError, ProcessError):
            raise BundleError("the process definition of the bundle cannot be read", remedy=RELEASE_AGAIN) from None
        if process_digest(process) != self.manifest.process_sha256:
            raise BundleError("the process definition reads otherwise than when it was signed", remedy=RELEASE_AGAIN)
        return process

    @property
    def vocabulary(self) -> Vocabulary:
        """Names of the run history that the model's features were made with."""
        data = orjson.loads(self.files[VOCABULARY])
        return Vocabulary(
            attributes=tuple(data["attributes"]),
            materials=tuple(data["materials"]),
            lot_tests=tuple((parameter, material) for parameter, material in data["lot_tests"]),
            metrics=tuple((metric, grade) for metric, grade in data["metrics"]),
            event_kinds=tuple(data["event_kinds"]),
            phases=tuple(data["phases"]),
        )

    def check_software(self) -> None:
        """Check that this software makes the model's features, of the process that the manifest names.

        Raises:
            BundleError: It does not.
        """
        if self.manifest.features_sha256 != features_digest():
            raise BundleError(f"bundle {self.sha256[:12]} was made with other feature code", remedy=RELEASE_AGAIN)
        if self.process.id != self.manifest.process_id:
            raise BundleError(f"bundle {self.sha256[:12]} has the process definition of {self.process.id!r}")

    def json(self, path: str) -> dict[str, JsonValue] | None:
        """Content of a JSON file; None if there is no file of that name."""
        return orjson.loads(self.files[path]) if path in self.files else None

    def write_predictor(self, folder: Path) -> None:
        """Write the verified files of the predictor, and the canary, into a folder."""
        own = {path: content for path, content in self.files.items() if path.startswith(f"{PREDICTOR}/")}
        for path, content in {**own, CANARY: self.files[CANARY]}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
