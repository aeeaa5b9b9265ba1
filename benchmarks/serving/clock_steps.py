"""The clock of the endpoint's process steps by an hour, both ways: keys, anchor and lists."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import figure
from benchmarks.serving.http import ask, request
from benchmarks.serving.place import HOUR_US, Place
from benchmarks.serving.server import Endpoint, endpoint
from serving.access.keys import add_key, revoke_key
from serving.audit.anchor import read_anchor
from serving.audit.chain import Actor
from serving.commands import RecordsAdmin
from serving.ids import iso, now_us
from serving.records.store import Records

_PRELUDE = """
import os, time
_clocks = time.time_ns, time.time
def _ahead_s():
    with open(os.environ["BENCH_AHEAD_S"]) as file:
        return int(file.read() or 0)
time.time_ns = lambda: _clocks[0]() + _ahead_s() * 1_000_000_000
time.time = lambda: _clocks[1]() + _ahead_s()
"""
_ACTOR = Actor("bench", "operator", "bench")
_STEPS_H = (1, -1, -1, 1)  # forth, right again, back, right again
_SHORT_S = 5.0  # validity of a key that expires
_A_SECOND_S = 1.2  # after which a revoked key has to be refused and the anchor has to be written


@dataclass
class Counts:
    """What was wrong after the steps."""

    revoked: int = 0
    expired: int = 0
    silent: int = 0
    reversed: int = 0
    refused: int = 0


def figures_of(place: Place, times: int = 20) -> list[dict[str, object]]:
    """Steps of an hour, forth and back in turns."""
    ahead, counts, at_h = place.root / "ahead_s", Counts(), 0
    ahead.write_text("0")
    anchor = place.data_dir / "audit.anchor"
    anchor.unlink(missing_ok=True)
    server = endpoint(place, place.root / "clock.db", prelude=_PRELUDE, BENCH_AHEAD_S=str(ahead))
    with server as found, RecordsAdmin(place.data_dir) as admin:
        for i in range(times):
            at_h += _STEPS_H[i % len(_STEPS_H)]
            _step(found, admin.records, anchor, ahead, at_h, counts)
    n, note = times, f"{times} steps of an hour, forth and back in turns, in the clock of the endpoint's process"
    return [
        figure("revoked keys accepted a second later, the clock stepped", counts.revoked, "keys", bound=0, side="max", n=n, note=note),
        figure("expired keys accepted, the clock stepped", counts.expired, "keys", bound=0, side="max", n=n, note=note),
        figure("anchor silent for a second, the clock stepped", counts.silent, "steps", bound=0, side="max", n=n, note=note),
        figure("lists of scores out of order, the clock stepped", counts.reversed, "steps", bound=0, side="max", n=n, note=note),
        figure("valid keys refused, the clock stepped", counts.refused, "keys", bound=0, side="max", n=n, note=note),
    ]  # fmt: skip


def _step(found: Endpoint, records: Records, anchor: Path, ahead: Path, at_h: int, counts: Counts) -> None:
    latest_us = now_us() + max(0, *(step * 3_600_000_000 for step in _STEPS_H))  # a key's clock never falls
    began, (key_id, key) = time.monotonic(), _key(records, None)
    _, short = _key(records, latest_us + round(_SHORT_S * 1e6))
    time.sleep(_A_SECOND_S)  # until the endpoint reads the keys again
    counts.refused += _status(found, key) != 200
    _status(found, short)
    first = _score(found)
    ahead.write_text(str(at_h * 3600))
    counts.refused += _status(found, key) != 200
    revoke_key(records, key_id, why="bench", actor=_ACTOR)
    second = _score(found)
    time.sleep(_A_SECOND_S)
    _score(found)
    counts.silent += _is_silent(records, anchor)
    counts.revoked += _status(found, key) == 200
    listed = [s["score_id"] for s in ask(found.port, found.send("GET", "/v1/batches/B1/scores"))[1]["scores"]]
    counts.reversed += listed.index(second) > listed.index(first)
    time.sleep(max(0.0, began + _SHORT_S + 0.5 - time.monotonic()))
    counts.expired += _status(found, short) == 200


def _is_silent(records: Records, anchor: Path) -> bool:
    """Whether the anchor lacks the end of the chain, also after one more second."""
    head = records.head()
    deadline = time.monotonic() + _A_SECOND_S
    while time.monotonic() < deadline:
        if anchor.exists() and max(_noted(anchor), default=0) >= head.audit_seq:
            return False
        time.sleep(0.05)
    return True


def _key(records: Records, expires_us: int | None) -> tuple[str, str]:
    return add_key(records, name="step", kind="service", role="mes", sites=["*"], expires_us=expires_us, actor=_ACTOR)


def _status(found: Endpoint, key: str) -> int:
    return ask(found.port, request("GET", "/v1/batches", headers={"authorization": f"Bearer {key}"}))[0]


def _score(found: Endpoint) -> str:
    as_of = {"as_of": iso(found.started_us + 80 * HOUR_US)}
    status, said = ask(found.port, found.send("POST", "/v1/batches/B1/scores", as_of))
    assert status == 200, said
    return said["score_id"]


def _noted(anchor: Path) -> list[int]:
    return [line.seq for line in read_anchor(anchor).lines]
