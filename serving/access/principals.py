"""Roles and what each may do; sites and which batches each may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from features.errors import BatchguardError

Role = Literal["mes", "viewer", "reviewer", "approver", "admin"]
Kind = Literal["service", "person"]
Permission = Literal["open", "write_batches", "write_plant", "score", "read", "review", "metrics"]

ROLES: tuple[Role, ...] = get_args(Role)
SERVICE_ROLES: tuple[Role, ...] = ("mes", "viewer")  # the others decide or sign, which only a person does
ALL_SITES = "*"

ALLOWED: dict[Permission, frozenset[Role]] = {
    "write_batches": frozenset({"mes"}),
    "write_plant": frozenset({"mes"}),
    "score": frozenset({"mes"}),
    "read": frozenset(ROLES),
    "review": frozenset({"reviewer", "approver"}),
    "metrics": frozenset({"viewer", "admin"}),
}


class AccessError(BatchguardError):
    """A key or token that cannot be made or used."""


class UnauthenticatedError(AccessError):
    """Nobody known: no key or token, or one that is wrong, expired or revoked."""


class ForbiddenError(AccessError):
    """Known, and not allowed."""


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        id: Stable identity, `key:ID` or `user:SUBJECT`.
        name: For people to read.
        kind: A service can never sign.
        role: What it may do.
        sites: Whose batches it sees; `*` for all.
        authenticated_us: When the person logged in, microseconds UTC; None: by a key, or the provider does not say.
    """

    id: str
    name: str
    kind: Kind
    role: Role
    sites: frozenset[str]
    authenticated_us: int | None = None

    def may(self, permission: Permission) -> bool:
        """Whether its role and kind allow something. A permission nobody wrote down is allowed to nobody."""
        if permission == "review" and self.kind != "person":
            return False
        return self.role in ALLOWED.get(permission, frozenset())

    def sees(self, site_id: str) -> bool:
        """Whether batches of a site are there for it."""
        return ALL_SITES in self.sites or site_id in self.sites


def checked(kind: str, role: str, sites: list[str]) -> tuple[Kind, Role, frozenset[str]]:
    """A kind, role and sites that go together.

    Raises:
        AccessError: One is unknown, none is given, or a service would decide or sign.
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
