"""What the records say of releases: their actions in order, their states, and which one is effective."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from serving.records.tables import release_actions
from serving.release.states import OPEN, ReleaseError, State

_ALL = select(release_actions).order_by(release_actions.c.seq)
ActionRow = Mapping[str, Any]


@dataclass(frozen=True)
class ReleaseStatus:
    """A release as its last action left it.

    Attributes:
        release_id: Digest of the bundle's manifest.
        version: Version of the model in the registry.
        state: Draft, if it was rejected.
        actions: Rows of `release_actions`, in order.
    """

    release_id: str
    version: str
    state: State
    actions: tuple[ActionRow, ...]

    @property
    def author(self) -> str:
        """Subject of the author."""
        return str(self.actions[0]["subject"])


@dataclass(frozen=True)
class EffectiveRelease:
    """The release that serves: its id, the version of its model, and its envelope."""

    release_id: str
    version: str
    envelope: str


def releases_of(connection: Connection, process_id: str) -> list[ReleaseStatus]:
    """All releases of a process, in the order in which they were submitted."""
    by_id: dict[str, list[ActionRow]] = {}
    for row in connection.execute(_ALL.where(release_actions.c.process_id == process_id)).mappings():
        by_id.setdefault(row["release_id"], []).append(row)
    return [_status(rows) for rows in by_id.values()]


def release_of(connection: Connection, release_id: str) -> ReleaseStatus:
    """A release by its id.

    Raises:
        ReleaseError: There is none of that id.
    """
    rows = connection.execute(_ALL.where(release_actions.c.release_id == release_id)).mappings().all()
    if not rows:
        raise ReleaseError(f"no release {release_id[:12]}", remedy="'batchguard release status' shows all.")
    return _status(rows)


def open_release(releases: Iterable[ReleaseStatus], version: str) -> ReleaseStatus | None:
    """The release of a version that is tested, approved or effective; None: it can be submitted."""
    return next((each for each in releases if each.version == version and each.state in OPEN), None)


def effective(connection: Connection, process_id: str) -> EffectiveRelease | None:
    """The effective release of a process; None: there is none, and nothing serves."""
    of_process = (release_actions.c.process_id == process_id) & (release_actions.c.state == "effective")
    newest = select(release_actions.c.release_id, release_actions.c.version).where(of_process)
    found = connection.execute(newest.order_by(release_actions.c.seq.desc()).limit(1)).one_or_none()
    return None if found is None else EffectiveRelease(*found, envelope_of_release(connection, found.release_id))


def envelope_of_release(connection: Connection, release_id: str) -> str:
    """The envelope with both signatures; empty where nobody has approved the release."""
    approved = (release_actions.c.release_id == release_id) & (release_actions.c.action == "approve")
    newest = select(release_actions.c.envelope).where(approved).order_by(release_actions.c.seq.desc()).limit(1)
    return connection.execute(newest).scalar_one_or_none() or ""


def states_of(releases: Iterable[ReleaseStatus]) -> dict[str, State]:
    """State by version: that of its open release, or else of its last one."""
    found: dict[str, State] = {}
    for each in sorted(releases, key=lambda one: one.state in OPEN):  # stable: open ones count last
        found[each.version] = each.state
    return found


def times_submitted(connection: Connection, process_id: str, version: str) -> int:
    """How often a version was submitted."""
    own = (release_actions.c.process_id == process_id) & (release_actions.c.version == version)
    counted = select(func.count()).where(own & (release_actions.c.action == "submit"))
    return connection.execute(counted.select_from(release_actions)).scalar_one()


def predecessor(releases: Iterable[ReleaseStatus], release_id: str) -> str | None:
    """The release that was effective before a release became so for the first time; None: there was none."""
    became = sorted(
        (row["seq"], row["release_id"], row["action"])
        for each in releases
        for row in each.actions
        if row["state"] == "effective"
    )
    places = [place for place, (_, own, action) in enumerate(became) if (own, action) == (release_id, "make_effective")]
    return became[places[0] - 1][1] if places and places[0] > 0 else None


def _status(rows: Iterable[ActionRow]) -> ReleaseStatus:
    actions = tuple(rows)
    last = actions[-1]
    return ReleaseStatus(last["release_id"], last["version"], last["state"], actions)
