"""What a principal of some sites sees of the serving model: names and numbers of batches of its own sites only."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from serving.access.principals import ALL_SITES, Principal

_SITE = "site."  # beginning of the names of subgroups by site


def visible_release(principal: Principal, released_for: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The intended use without subgroups of other sites, and without those that are counted over all sites.

    Args:
        principal: The caller.
        released_for: `intended_use` and `thresholds` of the serving model.
    """
    use = released_for.get("intended_use")
    if ALL_SITES in principal.sites or not isinstance(use, Mapping):
        return dict(released_for)
    subgroups = use.get("subgroups")
    own: dict[str, JsonValue] = {
        name: {site: n for site, n in sizes.items() if principal.sees(site)}
        for name, sizes in (subgroups.items() if isinstance(subgroups, Mapping) else ())
        if name.startswith(_SITE) and isinstance(sizes, Mapping)
    }
    return {**released_for, "intended_use": {**use, "subgroups": own}}


def visible_reason(principal: Principal, because: str) -> str:
    """Why a newer release cannot be used; it may name rows of any site."""
    if not because or ALL_SITES in principal.sites:
        return because
    return "a newer release cannot be used; a key of all sites shows why"
