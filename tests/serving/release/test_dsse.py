"""The envelope is DSSE: by the specification's own example, by another client, and no byte of it may change."""

import hashlib
import json
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from serving.release.dsse import PAYLOAD_TYPE, Envelope, EnvelopeError, KeySignature, envelope_of, pae
from serving.release.site_keys import FileKey, key_id_of

AUTHOR, APPROVER, STRANGER = (FileKey(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3))
PAYLOAD = b'{"a": "\xc3\xa9"}'


def sealed(*keys: FileKey) -> Envelope:
    envelope = Envelope(PAYLOAD)
    for key in keys:
        envelope = envelope.with_signature(KeySignature(key.key_id, key.sign(envelope.signed_bytes)))
    return envelope


def public(*keys: FileKey) -> dict[str, Ed25519PublicKey]:
    return {key.key_id: key.private.public_key() for key in keys}


def test_the_encoding_is_that_of_the_specification() -> None:
    # protocol.md of DSSE, test vector "hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("", b"") == b"DSSEv1 0  0 "  # every length counts bytes, also none
    assert pae("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


def test_an_envelope_reads_back_and_its_two_keys_vouch_for_it() -> None:
    text = sealed(AUTHOR, APPROVER).to_text()
    found = envelope_of(text)
    assert (found.payload, found.to_text()) == (PAYLOAD, text)
    found.check(public(AUTHOR, APPROVER))
    assert [len(each.sig) for each in found.signatures] == [64, 64]


@pytest.mark.parametrize("keys", [(AUTHOR,), (AUTHOR, STRANGER), (AUTHOR, AUTHOR), (AUTHOR, APPROVER, STRANGER), ()])
def test_other_signatures_than_the_two_expected_ones_are_refused(keys) -> None:
    with pytest.raises(EnvelopeError, match="not signed by the keys"):
        sealed(*keys).check(public(AUTHOR, APPROVER))


def test_a_signature_of_another_payload_is_refused() -> None:
    other = Envelope(b"{}", sealed(AUTHOR, APPROVER).signatures)
    with pytest.raises(EnvelopeError, match=r"signature of key .* is wrong"):
        other.check(public(AUTHOR, APPROVER))


def test_every_changed_byte_of_an_envelope_is_refused() -> None:
    text, keys, rng = sealed(AUTHOR, APPROVER).to_text().encode(), public(AUTHOR, APPROVER), random.Random(14)
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= 1 << rng.randrange(8)
        with pytest.raises(EnvelopeError):
            envelope_of(changed.decode("latin-1")).check(keys)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"payload": 1}', "[" * 100_000, "x" * 300_000])
def test_what_is_no_envelope_is_one_line(text) -> None:
    with pytest.raises(EnvelopeError, match="envelope is"):
        envelope_of(text)


def other_key(key: FileKey) -> SSlibKey:
    value = key.private.public_key().public_bytes_raw().hex()
    return SSlibKey(key.key_id, "ed25519", "ed25519", {"public": value})


def test_another_client_verifies_our_envelope_and_we_verify_what_it_reads() -> None:
    ours = sealed(AUTHOR, APPROVER)
    read = OtherEnvelope.from_dict(json.loads(ours.to_text()))
    assert (read.payload_type, read.payload) == (PAYLOAD_TYPE, PAYLOAD)
    assert set(read.verify([other_key(AUTHOR), other_key(APPROVER)], 2)) == {AUTHOR.key_id, APPROVER.key_id}
    with pytest.raises(VerificationError):
        read.verify([other_key(AUTHOR), other_key(STRANGER)], 2)
    again = Envelope(read.payload, tuple(
        KeySignature(each.keyid, bytes.fromhex(each.signature)) for each in read.signatures.values()
    ))  # fmt: skip
    again.check(public(AUTHOR, APPROVER))


def test_the_id_of_a_key_is_the_digest_of_its_public_half() -> None:
    # openssl pkey -pubin -outform DER | sha256sum, of the public key of 32 bytes of 1
    key = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key()
    der = bytes.fromhex("302a300506032b6570032100") + key.public_bytes_raw()
    assert key_id_of(key) == hashlib.sha256(der).hexdigest()
