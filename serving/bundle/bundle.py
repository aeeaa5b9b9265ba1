"""A bundle in memory, verified to its last byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import JsonValue

from features.context import Vocabulary
from features.digests import process_digest
from features.errors import ProcessError
from features.process import ProcessDefinition
from serving.bundle.files import EXPORT_AGAIN
from serving.bundle.manifest import BundleError, Manifest

PREDICTOR, PROCESS, VOCABULARY, CANARY = "predictor", "process.json", "vocabulary.json", "canary.json"
THRESHOLDS, INTENDED_USE = "thresholds.json", "intended_use.json"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        sha256: Address of the bundle, the digest of its manifest.
        manifest: The signed manifest.
        files: Verified files by path; nothing is read from the folder again.
    """

    sha256: str
    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def process(self) -> ProcessDefinition:
        """The process definition that the model was made for.

        Raises:
            BundleError: This software cannot read the definition, or reads it otherwise than it was signed.
        """
        try:
            process = ProcessDefinition.model_validate_json(self.files[PROCESS])
        except (ValueError, ProcessError):
            raise BundleError("the process definition of the bundle cannot be read", remedy=EXPORT_AGAIN) from None
        if process_digest(process) != self.manifest.process_sha256:
            raise BundleError("the process definition reads otherwise than when it was signed", remedy=EXPORT_AGAIN)
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

    def json(self, path: str) -> dict[str, JsonValue] | None:
        """Content of a JSON file; None if there is no file of that name."""
        return orjson.loads(self.files[path]) if path in self.files else None

    def write_predictor(self, folder: Path) -> None:
        """Write the verified files of the predictor, and the canary, into a folder."""
        own = {path: content for path, content in self.files.items() if path.startswith(f"{PREDICTOR}/")}
        for path, content in {**own, CANARY: self.files[CANARY]}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
