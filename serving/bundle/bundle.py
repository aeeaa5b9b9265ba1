"""A bundle in memory: every byte of it was verified, and nothing is read from its folder again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

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
    """A bundle of which every byte was verified.

    Attributes:
        sha256: Its address.
        manifest: What it says of itself.
        files: Its files by path, as verified: nothing is read from the folder again.
    """

    sha256: str
    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def process(self) -> ProcessDefinition:
        """The process definition that the model was made for.

        Raises:
            BundleError: It is none of this software's.
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
        """Names of the history that the model's features were made with."""
        data = orjson.loads(self.files[VOCABULARY])
        return Vocabulary(
            attributes=tuple(data["attributes"]),
            materials=tuple(data["materials"]),
            lot_tests=tuple((parameter, material) for parameter, material in data["lot_tests"]),
            metrics=tuple((metric, grade) for metric, grade in data["metrics"]),
            event_kinds=tuple(data["event_kinds"]),
            phases=tuple(data["phases"]),
        )

    def json(self, path: str) -> dict[str, Any] | None:
        """What a file says; None where there is none of that name."""
        return orjson.loads(self.files[path]) if path in self.files else None

    def write_predictor(self, folder: Path) -> None:
        """Write the verified files of the predictor, and the canary, into a folder of our own."""
        own = {path: content for path, content in self.files.items() if path.startswith(f"{PREDICTOR}/")}
        for path, content in {**own, CANARY: self.files[CANARY]}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
