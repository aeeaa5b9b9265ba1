"""The in-toto statement that both persons sign: which bundle, for which use, tested how, by whom."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import orjson
from pydantic import TypeAdapter, ValidationError

from features.canonical import canonical
from serving.release.dsse import EnvelopeError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:batchguard:release:v1"
SUBJECT = "manifest.json"


@dataclass(frozen=True)
class Author:
    """Who submitted a release: subject of the identity, and name as printed."""

    subject: str
    name: str


@dataclass(frozen=True)
class Predicate:
    """What is stated about a bundle.

    Attributes:
        process: Id of the process.
        version: Version of the model in the registry.
        model_sha256: Digest of the predictor.
        intended_use_sha256: Digest of the signed intended use.
        acceptance_sha256: Digest of the signed acceptance criteria.
        test_reading: Entry of the ledger of test readings.
        report_sha256: Digest of the validation report.
        meaning: Of the author's signature.
        author: Who submitted it.
        at: Time of the author's signature, ISO 8601 with offset.
    """

    process: str
    version: str
    model_sha256: str
    intended_use_sha256: str
    acceptance_sha256: str
    test_reading: str
    report_sha256: str
    meaning: str
    author: Author
    at: str


_PREDICATE = TypeAdapter(Predicate)


@dataclass(frozen=True)
class Statement:
    """A release, named by the digest of its bundle's manifest, and what is stated about it."""

    release_id: str
    predicate: Predicate

    def to_bytes(self) -> bytes:
        """The payload of the envelope."""
        subject = [{"name": SUBJECT, "digest": {"sha256": self.release_id}}]
        return canonical(
            {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": asdict(self.predicate)}
        )


def statement_of(payload: bytes) -> Statement:
    """Read a payload whose signatures were verified.

    Raises:
        EnvelopeError: It is no statement about a release, or not as `Statement.to_bytes` writes it.
    """
    try:
        data = orjson.loads(payload)
        found = Statement(str(data["subject"][0]["digest"]["sha256"]), _PREDICATE.validate_python(data["predicate"]))
        same = found.to_bytes() == payload
    except (ValueError, LookupError, TypeError, ValidationError):
        same, found = False, None
    if found is None or not same:
        raise EnvelopeError("the envelope holds no statement about a release", expected=f"predicate {PREDICATE}")
    return found
