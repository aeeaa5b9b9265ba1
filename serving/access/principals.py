"""Principals: roles and what each may do, sites and which batches each may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from features.errors import BatchguardError

Role = Literal["mes", "viewer", "reviewer", "approver", "admin"]
Kind = Literal["service", "person"]

ROLES: tuple[Role, ...] = get_args(Role)
SERVICE_ROLES: tuple[Role, ...] = ("mes", "viewer")  # the others decide or sign, which only a person does
ALL_SITES = "*"

PERMISSIONS: Mapping[str, frozenset[Role]] = {
    "write_batches": frozenset({"mes"}),
    "write_plant": frozenset({"mes"}),
    "score": frozenset({"mes"}),
    "read": frozenset(ROLES),
    "review": frozenset({"reviewer", "approver"}),
    "submit_release": frozenset({"reviewer", "approver"}),
    "approve_release": frozenset({"approver"}),
    "metrics": frozenset({"viewer", "admin"}),
}

OF_PERSONS = frozenset({"review", "submit_release", "approve_release"})


class AccessError(BatchguardError):
    """A key or token that cannot be made or used."""


class UnauthenticatedError(AccessError):
    """No key or token, or one that is wrong, expired or revoked."""


class ForbiddenError(AccessError):
    """An authenticated principal without the permission."""


@dataclass(frozen=True)
class Principal:
    """An authenticated service or person.

    Attributes:
        id: Stable identity, `key:ID` or `user:SUBJECT`.
        name: For people to read.
        kind: A service can never sign.
        role: Decides the permissions.
        sites: Sites whose batches the principal sees; `*` for all.
        authenticated_us: When the person logged in, microseconds UTC; None for a key, or if the provider does not say.
        subject: The identity behind keys and tokens: two keys of one person have the same. None: it signs no release.
    """

    id: str
    name: str
    kind: Kind
    role: Role
    sites: frozenset[str]
    authenticated_us: int | None = None
    subject: str | None = None

    def may(self, permission: str) -> bool:
        """Whether role and kind have a permission; nobody has an unknown permission."""
        if permission in OF_PERSONS and self.kind != "person":
            return False
        return self.role in PERMISSIONS.get(permission, frozenset())

    def sees(self, site_id: str) -> bool:
        """Whether the principal sees batches of a site."""
        return ALL_SITES in self.sites or site_id in self.sites


def checked(kind: str, role: str, sites: list[str]) -> tuple[Kind, Role, frozenset[str]]:
    """A kind, role and sites that go together.

    Raises:
        AccessError: One is unknown, no site is given, or a service would decide or sign.
    """
    if kind not in ("service", "person"):
        raise AccessError(f"kind {kind!r}", expected=" or ".join(get_args(Kind)))
    if role not in ROLES:
        raise AccessError(f"role {role!r}", expected=", ".join(ROLES))
    if kind == "service" and role not in SERVICE_ROLES:
        raise AccessError(
            f"a service cannot be {role}",
            expected=" or ".join(SERVICE_ROLES),
            remedy="Only a person decides and signs: make the key with --person.",
        )
    if not sites or not all(sites):
        raise AccessError("no site", expected="one or more sites, or * for all")
    return kind, role, frozenset(sites)
