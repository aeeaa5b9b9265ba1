"""DSSE version 1: an envelope of a payload with signatures over its pre-authentication encoding (PAE).

https://github.com/secure-systems-lab/dsse. An envelope has one spelling here, so that each changed byte is refused; other
clients read it as any DSSE envelope.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from features.canonical import canonical
from serving.release.states import ReleaseError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST = 256 << 10  # characters
_REMEDY = "Restore the records, or submit the version again with 'batchguard release submit'."


class EnvelopeError(ReleaseError):
    """An envelope that is damaged, or is not signed by the keys that have to sign it."""


@dataclass(frozen=True)
class KeySignature:
    """A signature and the id of its key."""

    keyid: str
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload and its signatures, in the order in which they were made."""

    payload: bytes
    signatures: tuple[KeySignature, ...] = ()

    @property
    def signed_bytes(self) -> bytes:
        """What each key signs."""
        return pae(PAYLOAD_TYPE, self.payload)

    def with_signature(self, signature: KeySignature) -> Envelope:
        """The same payload with one signature more."""
        return replace(self, signatures=(*self.signatures, signature))

    def to_text(self) -> str:
        """The one spelling, JSON."""
        signatures = [{"keyid": each.keyid, "sig": _encoded(each.sig)} for each in self.signatures]
        envelope = {"payload": _encoded(self.payload), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
        return canonical(envelope).decode()

    def check(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        """Check that each of these keys has signed the payload, and nothing else has; the payload is not parsed.

        Args:
            keys: By id.

        Raises:
            EnvelopeError: A signature is missing, wrong, there twice, or by another key.
        """
        if sorted(each.keyid for each in self.signatures) != sorted(keys):
            raise EnvelopeError("the envelope is not signed by the keys that have to sign it", remedy=_REMEDY)
        for each in self.signatures:
            try:
                keys[each.keyid].verify(each.sig, self.signed_bytes)
            except InvalidSignature:
                raise EnvelopeError(f"the signature of key {each.keyid[:12]} is wrong", remedy=_REMEDY) from None


def envelope_of(text: str) -> Envelope:
    """Read an envelope; nothing of its payload is parsed.

    Raises:
        EnvelopeError: The text is not an envelope as `Envelope.to_text` writes it.
    """
    if len(text) > LARGEST:
        raise EnvelopeError(f"the envelope is larger than {LARGEST >> 10} kB", remedy=_REMEDY)
    try:
        data = orjson.loads(text)
        signatures = tuple(KeySignature(str(each["keyid"]), _decoded(each["sig"])) for each in data["signatures"])
        found = Envelope(_decoded(data["payload"]), signatures)
        same = found.to_text() == text
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        same, found = False, Envelope(b"")
    if not same:
        raise EnvelopeError("the envelope is not as this software writes it", remedy=_REMEDY)
    return found


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: type and payload, each behind its length in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
