"""A seal counts if an author key and an approver key of one kind signed a statement about this very bundle."""

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.release.dsse import Envelope, EnvelopeError, KeySignature
from serving.release.site_keys import FileKey, TrustedKeys
from serving.release.statement import Author, Predicate, Statement
from serving.release.verification import verify_author, verify_seal

RELEASE, OTHER = "a" * 64, "b" * 64
PREDICATE = Predicate(
    process="cart", version="3", model_sha256="1" * 64, intended_use_sha256="2" * 64, acceptance_sha256="3" * 64,
    test_reading="4" * 64, report_sha256="5" * 64, meaning="responsibility", author=Author("anna", "Anna Weiss"),
    at="2026-11-28T15:00:00+01:00",
)  # fmt: skip
AUTHOR, APPROVER, DEMO_AUTHOR, DEMO_APPROVER = (
    FileKey(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in range(4)
)


def known(key: FileKey) -> dict:
    return {key.key_id: key.private.public_key()}


TRUSTED = (
    TrustedKeys("site", known(AUTHOR), known(APPROVER)),
    TrustedKeys("demo", known(DEMO_AUTHOR), known(DEMO_APPROVER)),
)


def sealed(*keys: FileKey, payload: bytes = Statement(RELEASE, PREDICATE).to_bytes()) -> str:
    envelope = Envelope(payload)
    for key in keys:
        envelope = envelope.with_signature(KeySignature(key.key_id, key.sign(envelope.signed_bytes)))
    return envelope.to_text()


def test_two_site_keys_are_two_persons_and_two_demo_keys_say_so() -> None:
    seal = verify_seal(sealed(AUTHOR, APPROVER), RELEASE, TRUSTED)
    assert (seal.released_by, seal.statement.predicate) == ("two persons", PREDICATE)
    assert verify_seal(sealed(DEMO_AUTHOR, DEMO_APPROVER), RELEASE, TRUSTED).released_by == "demo keys"


@pytest.mark.parametrize(
    "keys",
    [(AUTHOR,), (APPROVER, AUTHOR), (AUTHOR, AUTHOR), (APPROVER, APPROVER), (AUTHOR, DEMO_APPROVER),
     (DEMO_AUTHOR, APPROVER), (AUTHOR, APPROVER, DEMO_APPROVER), ()],
)  # fmt: skip
def test_any_other_pair_of_keys_is_refused(keys) -> None:
    with pytest.raises(EnvelopeError, match="not sealed by trusted keys"):
        verify_seal(sealed(*keys), RELEASE, TRUSTED)


def test_one_key_in_both_roles_does_not_seal_alone() -> None:
    both = (TrustedKeys("site", known(AUTHOR), known(AUTHOR)),)
    with pytest.raises(EnvelopeError):
        verify_seal(sealed(AUTHOR, AUTHOR), RELEASE, both)


def test_the_approver_is_asked_to_sign_what_the_author_signed() -> None:
    assert verify_author(sealed(AUTHOR), RELEASE, TRUSTED).statement.predicate.author.name == "Anna Weiss"
    for keys in ((APPROVER,), (AUTHOR, APPROVER), ()):
        with pytest.raises(EnvelopeError):
            verify_author(sealed(*keys), RELEASE, TRUSTED)


def test_a_seal_of_another_bundle_is_refused() -> None:
    with pytest.raises(EnvelopeError, match=f"about {RELEASE[:12]}, not about {OTHER[:12]}"):
        verify_seal(sealed(AUTHOR, APPROVER), OTHER, TRUSTED)


def changed(**more: object) -> bytes:
    data = orjson.loads(Statement(RELEASE, PREDICATE).to_bytes())
    return orjson.dumps(data | more, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", changed(predicateType="urn:other"), changed(_type="x"), changed(more=1),
     changed(subject=[]), changed(predicate={})],
)  # fmt: skip
def test_a_signed_payload_that_states_something_else_is_refused(payload) -> None:
    with pytest.raises(EnvelopeError, match="no statement about a release"):
        verify_seal(sealed(AUTHOR, APPROVER, payload=payload), RELEASE, TRUSTED)


def test_no_payload_is_parsed_before_its_signatures_are_verified(monkeypatch) -> None:
    def parsed(_: bytes) -> Statement:
        raise AssertionError("parsed")

    monkeypatch.setattr("serving.release.verification.statement_of", parsed)
    good = Envelope(Statement(RELEASE, PREDICATE).to_bytes())
    wrong = tuple(KeySignature(key.key_id, b"\0" * 64) for key in (AUTHOR, APPROVER))
    with pytest.raises(EnvelopeError, match="is wrong"):
        verify_seal(Envelope(good.payload, wrong).to_text(), RELEASE, TRUSTED)
