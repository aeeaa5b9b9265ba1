"""Documents that a person signs before the test is read: the intended use of a process, and its acceptance criteria."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import insert, select

from features.canonical import digest
from serving.audit import chain
from serving.ids import new_id
from serving.records.store import Records
from serving.records.tables import signed_documents
from serving.release.signatures import Signers, SignRequest
from serving.release.states import ReleaseError

DocumentKind = Literal["intended_use", "acceptance"]
KINDS: tuple[DocumentKind, ...] = get_args(DocumentKind)
_LARGEST = 256 << 10  # characters


@dataclass(frozen=True)
class SignedDocument:
    """The newest signed document of a kind.

    Attributes:
        document_id: Of its record.
        sha256: Digest of the values of the TOML; comments and layout do not count.
        content: The text that was signed.
        signer_name: As printed.
        subject: Of the signer.
        at_us: Time of the signature, microseconds UTC.
        local_time: The same on the signer's clock, ISO 8601 with offset.
        zone: Name of that clock's zone.
    """

    document_id: str
    sha256: str
    content: str
    signer_name: str
    subject: str
    at_us: int
    local_time: str
    zone: str


def document_sha256(content: str) -> str:
    """Digest of the values of a TOML text: comments, order of tables and layout do not count.

    Raises:
        ReleaseError: It is no TOML, or holds a value without a JSON spelling.
    """
    try:
        values = tomllib.loads(content)
        json.dumps(values, allow_nan=False, default=str)  # nan and the infinities have no JSON spelling
        return digest(values)
    except (ValueError, TypeError, RecursionError) as error:
        raise ReleaseError(f"the document cannot be read as TOML ({error})") from None


def sign_document(
    records: Records, signers: Signers, kind: DocumentKind, process_id: str, content: str, request: SignRequest
) -> SignedDocument:
    """Store a document with the signature of an approver; it replaces the former one of its kind, which stays on record.

    Raises:
        ReleaseError: The text is no TOML, is too large, or the same one is signed already.
        AccessError: The signature was refused.
        RecordsUnavailableError: It could not be stored.
    """
    if len(content) > _LARGEST:
        raise ReleaseError(f"the document is larger than {_LARGEST >> 10} kB")
    sha256, target = document_sha256(content), f"document:{kind}:{process_id}"
    signed = signers.sign(request, "approve_release", "approval", target)
    with records.write() as (connection, now):
        row = {
            "document_id": new_id(signed.at_us), "seq": now.audit_seq + 1, "kind": kind, "process_id": process_id,
            "sha256": sha256, "content": content, **signed.columns,
        }  # fmt: skip
        connection.execute(insert(signed_documents), row)
        new = chain.document_digest(row)
        chain.append(connection, now, signed.actor, "document", target, at_us=signed.at_us, new=new, why=request.reason)
    found = signed_document(records, kind, process_id)
    if found is None:
        raise ReleaseError(f"the {kind} of {process_id!r} is not in the records after it was signed")
    return found


def signed_document(records: Records, kind: DocumentKind, process_id: str) -> SignedDocument | None:
    """The document of a kind that counts: the one that was signed last; None: nobody has signed one.

    Raises:
        RecordsUnavailableError: The records cannot be read.
    """
    columns = (signed_documents.c[name] for name in SignedDocument.__dataclass_fields__)
    own = (signed_documents.c.kind == kind) & (signed_documents.c.process_id == process_id)
    with records.read() as connection:
        newest = select(*columns).where(own).order_by(signed_documents.c.seq.desc()).limit(1)
        found = connection.execute(newest).mappings().one_or_none()
    return None if found is None else SignedDocument(**found)
