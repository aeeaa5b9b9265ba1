"""Verifies the seal of a release: two signatures by trusted keys, then the statement about this very bundle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.scoring.score import ReleasedBy
from serving.release.dsse import EnvelopeError, envelope_of
from serving.release.site_keys import KeyRole, TrustedKeys
from serving.release.statement import Statement, statement_of


@dataclass(frozen=True)
class Seal:
    """A verified seal.

    Attributes:
        statement: What both signatures cover.
        released_by: Which kind of keys signed.
    """

    statement: Statement
    released_by: ReleasedBy


def verify_seal(envelope: str, release_id: str, trusted: Iterable[TrustedKeys]) -> Seal:
    """Check that an author key and an approver key of one kind have signed a statement about a release.

    Raises:
        EnvelopeError: The envelope is damaged, is signed by other keys, or is about another bundle.
    """
    return _verified(envelope, release_id, trusted, ("author", "approver"))


def verify_author(envelope: str, release_id: str, trusted: Iterable[TrustedKeys]) -> Seal:
    """Check that an author key alone has signed a statement about a release: what an approver is asked to sign.

    Raises:
        EnvelopeError: As `verify_seal`.
    """
    return _verified(envelope, release_id, trusted, ("author",))


def _verified(text: str, release_id: str, trusted: Iterable[TrustedKeys], roles: tuple[KeyRole, ...]) -> Seal:
    envelope = envelope_of(text)
    for keys in trusted:
        of_role = {"author": keys.author, "approver": keys.approver}
        signed = [each.keyid for each in envelope.signatures]
        if len(signed) == len(roles) and all(keyid in of_role[role] for role, keyid in zip(roles, signed, strict=True)):
            envelope.check({keyid: of_role[role][keyid] for role, keyid in zip(roles, signed, strict=True)})
            break
    else:
        raise EnvelopeError(
            f"release {release_id[:12]} is not sealed by trusted keys",
            expected=f"signatures by a trusted key of {' and of '.join(f'the {role}' for role in roles)}, of one kind",
            remedy="Trust the site's public keys (author.pub, approver.pub), or release the version again.",
        )
    statement = statement_of(envelope.payload)
    if statement.release_id != release_id:
        raise EnvelopeError(f"the envelope is about {statement.release_id[:12]}, not about {release_id[:12]}")
    return Seal(statement, "two persons" if keys.kind == "site" else "demo keys")
