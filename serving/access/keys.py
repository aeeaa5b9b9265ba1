"""Administration of API keys: made, listed, revoked. A key is shown once and kept as an argon2id hash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from secrets import token_hex

import orjson
from sqlalchemy import Connection, insert, select, update

from serving.access import secrets
from serving.access.principals import ALL_SITES, AccessError, checked
from serving.audit import chain
from serving.audit.chain import Actor
from serving.ids import ID_PATTERN, now_us
from serving.records.store import Records
from serving.records.tables import api_keys, audit


@dataclass(frozen=True)
class KeyRecord:
    """A key as the table `api_keys` holds it, without its hash; `sites` is a JSON list, times are microseconds UTC."""

    key_id: str
    name: str
    kind: str
    role: str
    sites: str
    made_us: int
    expires_us: int | None
    revoked_us: int | None = None
    subject: str | None = None


_SUBJECT = r"[^\s\x00-\x1f]{1,150}"
_RECORDS = select(*(api_keys.c[name] for name in KeyRecord.__dataclass_fields__))


def add_key(
    records: Records, *, name: str, kind: str, role: str, sites: Sequence[str], expires_us: int | None, actor: Actor,
    subject: str | None = None,
) -> tuple[str, str]:  # fmt: skip
    """Make a key.

    Args:
        records: Hold the keys.
        name: Of the holder, as printed.
        kind: `person` or `service`.
        role: Decides the permissions.
        sites: Sites whose batches the key may see; `*` for all.
        expires_us: End of its validity, microseconds UTC; None: until it is revoked.
        actor: Who makes it.
        subject: Identity of the person, the same for all their keys and in their tokens; only with it they sign releases.

    Returns:
        Its id, and the key itself, which cannot be shown again.

    Raises:
        AccessError: Kind, role, sites and subject do not go together, no batch can have such a site, or a text cannot be
            printed.
        RecordsUnavailableError: The key could not be kept.
    """
    checked_kind, checked_role, checked_sites = checked(kind, role, list(sites))
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise AccessError("a key needs a name", expected="1 to 200 characters that can be printed")
    if subject is not None and kind != "person":
        raise AccessError("a service has no subject", remedy="Only a person signs: make the key with --person.")
    if subject is not None and not re.fullmatch(_SUBJECT, subject):
        raise AccessError(
            f"subject {subject!r}", expected="the person's id in the plant, 1 to 150 characters without blanks"
        )
    for site in sites:
        if site != ALL_SITES and not re.fullmatch(ID_PATTERN, site):
            raise AccessError(f"site {site!r}", expected="an id as batches have it, or * for all")
    key_id, at_us = token_hex(6), now_us()
    key, kept = secrets.make()
    site_list = orjson.dumps(sorted(checked_sites)).decode()
    record = asdict(KeyRecord(key_id, name, checked_kind, checked_role, site_list, at_us, expires_us, subject=subject))
    with records.write() as (connection, now):
        row = {**record, "secret_hash": kept.text}
        connection.execute(insert(api_keys), row)
        new = chain.key_digest(row)
        chain.append(connection, now, actor, "key_added", f"key:{key_id}", at_us=at_us, new=new)
    return key_id, key


def list_keys(records: Records) -> list[KeyRecord]:
    """All keys, oldest first, including revoked ones: in the order of the audit trail, which no clock changes."""
    entry = (audit.c.action == "key_added") & (audit.c.object == "key:" + api_keys.c.key_id)
    number = select(audit.c.seq).where(entry).limit(1).scalar_subquery()
    with records.read() as connection:
        found = connection.execute(_RECORDS.order_by(number, api_keys.c.made_us, api_keys.c.key_id))
        return [KeyRecord(**row) for row in found.mappings()]


def revoke_key(records: Records, key_id: str, *, why: str, actor: Actor) -> None:
    """Make a key useless.

    Args:
        records: Hold the keys.
        key_id: Its id, or, of a key that was found somewhere, the key itself or its part before the secret (`bg_...`).
        why: The reason.
        actor: Who revokes it.

    Raises:
        AccessError: There is no such key, it is revoked already, or the reason is empty.
        RecordsUnavailableError: The revocation could not be kept.
    """
    if not why.strip():
        raise AccessError("a key is revoked for a reason", expected="--why with some words")
    at_us = now_us()
    with records.write() as (connection, now):
        key_id = _id_of(connection, key_id)
        own = api_keys.c.key_id == key_id
        found = connection.execute(select(api_keys.c.revoked_us).where(own)).one_or_none()
        if found is None:
            raise AccessError(f"no key {key_id!r}", remedy="'batchguard keys list' shows all.")
        if found.revoked_us is not None:
            raise AccessError(f"key {key_id!r} is revoked already")
        connection.execute(update(api_keys).where(own).values(revoked_us=at_us))
        chain.append(connection, now, actor, "key_revoked", f"key:{key_id}", at_us=at_us,
                     old={"revoked_us": None}, new={"revoked_us": at_us}, why=why)  # fmt: skip


def _id_of(connection: Connection, given: str) -> str:
    """The id of a key that is given by its id or by its part before the secret."""
    if not given.startswith("bg_"):
        return given
    lookup = given.split("_")[1]
    for row in connection.execute(select(api_keys.c.key_id, api_keys.c.secret_hash)):
        if (secrets.stored(row.secret_hash).lookup or row.key_id) == lookup:
            return row.key_id
    return lookup
