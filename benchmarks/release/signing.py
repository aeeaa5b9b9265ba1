"""Kills while a release is submitted, approved and made effective, and while an endpoint changes its model; races of approvers."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.record import figure
from benchmarks.release.killing import in_child, killed_at, n_events
from benchmarks.release.office import Office, by
from serving.audit import chain, verification
from serving.model_releases import SERVED, ModelReleases
from serving.records.store import Records
from serving.release.history import effective, open_release
from serving.release.states import ReleaseError
from serving.service.engine_cache import EngineCache

STATES = {"submit": "tested", "approve": "approved", "make effective": "effective"}


@dataclass(frozen=True)
class Outcome:
    """What kills of one step led to."""

    kills: int
    half: int
    incomplete: int
    events: int


def figures_of(office: Office, n_kills: int, n_races: int) -> list[dict[str, Any]]:
    """Kills spread over the steps, then the races."""
    rng, found = random.Random(14), []  # noqa: S311 - moments, no secrets
    for name, share in (("submit", 0.3), ("approve", 0.2), ("make effective", 0.3), ("swap", 0.2)):
        told = _kills(office, name, max(1, round(n_kills * share)), rng)
        note = f"{told.events} events (files, statements, commits), killed at each in turn and again at random ones"
        found += [
            figure(f"kills while a release is at {name!r} that leave a half state", told.half, "kills", bound=0, side="max",
                   n=told.kills, n_failed=told.half, note=note),
            figure(f"runs of {name!r} again that do not complete", told.incomplete, "runs", bound=0, side="max",
                   n=told.kills, n_failed=told.incomplete),
        ]  # fmt: skip
    return [*found, _races(office, n_races)]


def _kills(office: Office, name: str, n: int, rng: random.Random) -> Outcome:
    template = replace(office, folder=office.folder / f"template {name}")
    template.open()
    _prepare(template, name)
    log = office.folder / "child.log"
    copy = replace(office, folder=office.folder / "copy")
    _fresh(template, copy)
    events = n_events(lambda: _step(copy, name), log)
    half = incomplete = kills = 0
    moments = [1 + i % events if i < events else rng.randrange(1, events + 1) for i in range(n)]
    for at in moments if n >= events else sorted(rng.sample(range(1, events + 1), n)):
        _fresh(template, copy)
        kills += killed_at(lambda: _step(copy, name), at, log)
        half += in_child(lambda: _check(copy, name, done=False), log) != 0
        again = in_child(lambda: _step(copy, name), log) or in_child(lambda: _check(copy, name, done=True), log)
        incomplete += again != 0
        if again:
            print(log.read_text()[-2000:])
    return Outcome(kills, half, incomplete, events)


def _fresh(template: Office, copy: Office) -> Office:
    shutil.rmtree(copy.folder, ignore_errors=True)
    shutil.copytree(template.folder, copy.folder)
    return copy


def _prepare(office: Office, name: str) -> None:
    """Everything before a step: version 1 is effective, version 2 as far as the step needs."""
    steps = ["submit", "approve", "make effective"]
    for step in steps:
        _step(office, step, "1")
    if name == "swap":
        _step(office, "swap", "1")  # an endpoint has served version 1
    for step in steps[: steps.index(name)] if name != "swap" else steps:
        _step(office, step, "2")


def _step(office: Office, name: str, version: str = "2") -> None:
    """Do a step, or nothing where it is done."""
    records = Records(office.url)
    if name == "swap":
        _swap(office, records)
        return
    service = office.service(records)
    found = open_release(service.all(), version)
    if found is not None and found.state == STATES[name]:
        return
    if name == "submit":
        office.submit(version)
    elif found is not None and name == "approve":
        service.approve(found.release_id, by("boris"))
    elif found is not None:
        service.make_effective(found.release_id, by("boris"))


def _swap(office: Office, records: Records) -> None:
    """What an endpoint does at its start and at a look: load the effective release, serve it, note it."""
    models = ModelReleases(office.bundles, office.keys, records, "made")
    models._loader._canary = lambda _: None
    engine_cache = EngineCache(records, models.make)
    with engine_cache.reading():
        models.note_serving_model()
    models.check_for_release(engine_cache)


def _check(office: Office, name: str, *, done: bool) -> None:
    """The trail holds, every release of the folder that the records name reads whole, and one is effective."""
    records = Records(office.url)
    problems = verification.verify(records, None).problems
    assert problems == (), problems
    with records.read() as connection:
        now = effective(connection, "made")
        served = [e for e in chain.history(connection, "model:made") if e.action == SERVED]
    assert now is not None
    assert now.version in ("1", "2")
    service = office.service(records)
    for each in service.all():
        service.store.read(each.release_id)
    if done and name == "swap":
        assert now.release_id in str(served[-1].new)
    elif done:
        found = open_release(service.all(), "2")
        assert found is not None
        assert found.state == STATES[name]


def _races(office: Office, n: int) -> dict[str, Any]:
    """Two persons approve one release at once, in two processes."""
    place = replace(office, folder=office.folder / "races")
    place.open()
    log, wins = office.folder / "race.log", []
    for i in range(n):
        release_id = place.submit(str(i))
        codes = _both(place, release_id, log)
        records = Records(place.url)
        rows = [row["action"] for row in place.service(records).status(release_id).actions]
        wins.append(sorted(codes) == [0, 1] and rows == ["submit", "approve"])
        records.close()
    lost = n - sum(wins)
    records = Records(place.url)
    problems = verification.verify(records, None).problems
    records.close()
    return figure("races of two approvers without exactly one winner", lost + len(problems), "races", bound=0, side="max", n=n,
                  n_failed=lost, note="two processes; the other one is refused in one line and the trail holds")  # fmt: skip


def _both(place: Office, release_id: str, log: Path) -> list[int]:
    """Exit codes of two approvers at once: 0 for the one who approved, 1 for one who was refused."""
    import os

    begin, go = os.pipe()

    def approver(who: str) -> Callable[[], None]:
        def approve() -> None:
            records = Records(place.url)
            os.read(begin, 1)
            try:
                place.service(records).approve(release_id, by(who))
            except ReleaseError as error:
                assert "\n" not in str(error)
                raise SystemExit(1) from None

        return approve

    children = [_forked(approver(who), log) for who in ("boris", "clara")]
    os.write(go, b"..")
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(begin)
    os.close(go)
    return codes


def _forked(step: Callable[[], None], log: Path) -> int:
    import os
    import traceback

    child = os.fork()
    if child == 0:
        code = 0
        try:
            step()
        except SystemExit:
            code = 1
        except BaseException:  # noqa: BLE001 - the child ends here, whatever it is
            log.write_text(traceback.format_exc())
            code = 2
        os._exit(code)
    return child
