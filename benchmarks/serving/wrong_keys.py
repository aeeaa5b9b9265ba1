"""Connections that present wrong secrets for known keys, and what clients with a good key feel of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator

import numpy as np
from sqlalchemy import select, update

from benchmarks.record import figure
from benchmarks.serving.http import ask, request
from benchmarks.serving.place import Place
from benchmarks.serving.process import ROOT
from benchmarks.serving.server import Endpoint, endpoint
from serving.access.keys import add_key, list_keys
from serving.audit.chain import Actor
from serving.commands import RecordsAdmin
from serving.records.store import Records
from serving.records.tables import api_keys

_READINGS, _MOST_TIMES_QUIET = 1500, 3.0
_FIRST_USES, _MOST_FIRST_S, _GIVEN_UP_S = 5, 10.0, 60.0
_SETTLED_S = 3  # after the start of an attack: the first refusals are answered at once


def figures_of(place: Place) -> list[dict[str, object]]:
    """What 64 and 256 connections with wrong secrets do to a key in use, and 64 to the first use of an old key."""
    (place.data_dir / "audit.anchor").unlink(missing_ok=True)
    with endpoint(place, place.root / "wrong_keys.db") as server, RecordsAdmin(place.data_dir) as admin:
        key_id = list_keys(admin.records)[0].key_id  # as a key of 0.2.0 would be presented: by its id
        in_use = [found for n in (64, 256) for found in _beside(server, key_id, n)]
        return [*in_use, _first_use(server, admin.records)]


def _beside(server: Endpoint, key_id: str, connections: int) -> list[dict[str, object]]:
    """The time of a good key's requests, quiet and beside an attack; half of it on the key in use and half on its id."""
    before = _p99(server)
    with _attack(server, connections, server.served.key[3:15], key_id) as found:
        beside, ready_s = _p99(server), _ready_s(server)
    after = _p99(server)
    quiet = (before + after) / 2  # others on the machine change within a minute
    note = f"quiet {before:.1f} ms before and {after:.1f} ms after, beside {beside:.1f} ms; ready answered in {ready_s * 1e3:.0f} ms; attackers: {dict(found)}"
    answers = {int(status): n for status, n in found.items() if status.isdigit()}
    accepted = sum(n for status, n in answers.items() if status < 400)
    return [
        figure(f"p99 of a good key beside {connections} connections with wrong secrets", round(beside / quiet, 2), "x quiet",
               bound=_MOST_TIMES_QUIET, side="max", n=_READINGS, against="the quiet endpoint, same run", note=note),
        figure(f"wrong secrets accepted, {connections} connections", accepted, "requests", bound=0, side="max",
               n=sum(answers.values())),
    ]  # fmt: skip


def _first_use(server: Endpoint, records: Records) -> dict[str, object]:
    """How long an untagged key that was never used waits for its first answer, while half of an attack guesses at it."""
    took, total = [], Counter()
    for _ in range(_FIRST_USES):
        key = _untagged_key(records)
        with _attack(server, 64, server.served.key[3:15], key[3:15]) as found:
            took.append(_accepted_s(server, key))
        total.update(found)
    key = _untagged_key(records)
    with _attack(server, 64, server.served.key[3:15], key[3:15]):
        p99 = _p99(server)
    note = (
        f"each: {', '.join(f'{s:.1f}' for s in took)} s; p99 of another key, in use, meanwhile {p99:.1f} ms; "
        f"attackers: {dict(total)}"
    )
    return figure("first use of a key of 0.2.0 beside 64 connections with wrong secrets, half of them for it",
                  round(max(took), 2), "s", bound=_MOST_FIRST_S, side="max", n=_FIRST_USES, note=note)  # fmt: skip


def _untagged_key(records: Records) -> str:
    """A new key as 0.2.0 kept and showed it: found by its id, without a tag."""
    key_id, key = add_key(records, name="old", kind="service", role="mes", sites=["*"], expires_us=None,
                          actor=Actor("bench", "operator", "bench"))  # fmt: skip
    own = api_keys.c.key_id == key_id
    with records.write() as (connection, _):
        kept = connection.execute(select(api_keys.c.secret_hash).where(own)).scalar_one()
        connection.execute(update(api_keys).where(own).values(secret_hash=kept.split(";")[0]))
    return f"bg_{key_id}_{key[-43:]}"


def _accepted_s(server: Endpoint, key: str) -> float:
    """Seconds until a key is accepted, by a client that does as a 503 says and gives up after a minute."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < _GIVEN_UP_S:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", "/v1/batches", headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 503:
            assert answer.status == 200, answer.status
            return time.perf_counter() - begin
        time.sleep(float(answer.headers["retry-after"]))
    return time.perf_counter() - begin


def _p99(server: Endpoint) -> float:
    """99 % quantile of requests one after the other, each over a connection of its own, in milliseconds."""
    times = []
    for _ in range(_READINGS):
        begin = time.perf_counter()
        status, _ = ask(server.port, server.send("GET", "/v1/batches"))
        assert status == 200
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.quantile(times, 0.99))


def _ready_s(server: Endpoint) -> float:
    begin = time.perf_counter()
    assert ask(server.port, request("GET", "/health/ready"))[0] == 200
    return time.perf_counter() - begin


@contextlib.contextmanager
def _attack(server: Endpoint, connections: int, *lookups: str) -> Generator[Counter[str]]:
    """Connections of another process that present wrong secrets; at the end, what became of them."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.wrong_keys_attack",
        str(server.port),
        str(connections),
        *lookups,
    ]
    found: Counter[str] = Counter()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(_SETTLED_S)
        try:
            yield found
        finally:
            told, _ = process.communicate("")
            found.update(json.loads(told))
