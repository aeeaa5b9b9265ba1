# ruff: noqa: S608 - the statements are of our own tables
"""Tamperings of records, anchor and triggers, and older copies of the records that were restored: how many are noticed."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from benchmarks.record import figure
from benchmarks.serving.place import NAMES, Place
from benchmarks.serving.released import EVIDENCE, models_of
from features.errors import BatchguardError
from serving.access.keys import add_key
from serving.access.principals import Principal
from serving.access.signing import Signature
from serving.audit import start, verification
from serving.audit.anchor import Anchor
from serving.audit.chain import Actor
from serving.bundle.bundle import Bundle
from serving.bundle.manifest import Manifest
from serving.bundle.store import BundleStore
from serving.events.webhooks import WebhookDispatcher
from serving.ids import iso
from serving.model_releases import KEYS
from serving.records.answers import Call
from serving.records.store import Records
from serving.records.tables import APPEND_ONLY, metadata
from serving.release.demo import demo_keys, demo_persons
from serving.release.documents import sign_document
from serving.release.service import ReleaseService
from serving.service import intake, reviews, score_requests
from serving.service.engine_cache import EngineCache, EngineMaker
from serving.service.scoring_service import ScoringService
from serving.settings import Webhook

N_BYTES, N_RESTORED = 20, 20  # the tables, triggers and kinds of anchors make more than 200
DOCUMENTED = {"answers": "stored answers of idempotency keys", "alembic_version": "the number of the schema"}
NOON = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
OPERATOR = Actor("local:bench", "operator", "bench")
Figures = list[dict[str, object]]


@dataclass(frozen=True)
class Source:
    """What the plant sends: a parameter of the model, its unit, and what makes engines over the model."""

    make_engine: EngineMaker
    parameter: str
    unit: str


@dataclass(frozen=True)
class Tampering:
    """A change behind the back of the endpoint; `documented` names the blind spot that it falls into."""

    name: str
    make: Callable[[Path], None]
    documented: str = ""


class _Plant:
    """Records of every table, and their anchor, in a folder."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder, self._source, self._at_us, self._n = folder, source, NOON, 0
        self.records = Records(f"sqlite:///{folder / 'records.db'}")
        self.records.prepare()
        self.anchor = Anchor(folder / "anchor", 0.0)
        self.hooks = [
            Webhook(name=name, url="http://127.0.0.1:9/", secret_file=folder / "none") for name in ("mes", "mail")
        ]
        self.service = ScoringService(self.records, source.make_engine, EngineCache(self.records, source.make_engine), self.anchor,
                                      hooks=self.hooks, clock=self.clock)  # fmt: skip

    def clock(self) -> int:
        self._at_us += 1_000
        return self._at_us

    def begin(self) -> None:
        """What an endpoint does at its start."""
        start.begin(self.records, self.anchor, OPERATOR, self.clock())

    def fill(self, n: int) -> None:
        """Batches with readings, rejected rows, scores of both kinds, reviews, keys, deliveries."""
        for _ in range(n):
            self._n += 1
            self._batch(f"B{self._n}")
        add_key(self.records, name="M", kind="service", role="mes", sites=["north"], expires_us=None, actor=OPERATOR)
        self._release()
        statuses = iter((200, 500) * 100)
        sender = WebhookDispatcher(self.records, [(self.hooks[0], b"s" * 24)], lambda *_: next(statuses), self.clock)
        sender.deliver_due()
        self.anchor.note(self.records.head(), self.clock(), at_once=True)

    def _release(self) -> None:
        """A version released, and the criteria signed before it."""
        manifest = Manifest("bench", str(self._n), 0, "bench", "p", "f", "m", {})
        keys = self.folder / KEYS
        demo_keys(keys)
        with demo_persons(self.records) as persons:
            sign_document(self.records, persons.signers, "acceptance", "bench", f"bound = {self._n}", persons.approver)
            service = ReleaseService(
                self.records, BundleStore(self.folder / "bundles"), "bench", persons.signers, keys, "demo"
            )
            service.submit(
                str(self._n), lambda _: Bundle(manifest.sha256, manifest, {}), lambda: EVIDENCE, persons.author
            )

    def _batch(self, batch_id: str) -> None:
        batch = {"site_id": "north", "started_at": "2026-03-01T00:00:00Z", "origin": "real"}
        intake.put_batch(self.service, self._call("mes", f"k{batch_id}"), batch_id, batch, "")
        readings = [self._reading(hour, 5.0 + hour) for hour in (1, 2, 3)]
        wrong = [self._reading(4, 5.0) | {"unit": "mol"}, self._reading(5, 5.0) | {"unit": "s"}]
        intake.add_rows(self.service, self._call("mes"), batch_id, {"observations": readings + wrong})
        history = {
            "batches": [{"batch_id": batch_id, **batch}],
            "observations": [{"batch_id": batch_id, **readings[0]}],
        }
        score_requests.score_inline(self.service, self._call("mes"), batch_id, NOON, history)
        made = orjson.loads(score_requests.score(self.service, self._call("mes"), batch_id, NOON).body)
        decision = reviews.ReviewDecision("agree", "looks right", None)
        reviews.review(self.service, self._call("reviewer"), made["score_id"], decision, _signed)

    def _reading(self, hour: int, value: float) -> dict[str, object]:
        at_us = NOON - (12 - hour) * 3_600_000_000
        return {
            "parameter": self._source.parameter,
            "observed_at": iso(at_us),
            "value": value,
            "unit": self._source.unit,
        }

    def _call(self, role: str, key: str | None = None) -> Call:
        kind = "person" if role == "reviewer" else "service"
        principal = Principal(f"{kind}:{role}", role, kind, role, frozenset({"north"}), NOON)  # ty: ignore[invalid-argument-type]
        return Call(principal, f"r{self.clock()}", key, f"{0:0>64}")


def source_of(place: Place) -> Source:
    """What a plant sends to the place's model."""
    url = f"sqlite:///{place.root / 'source.db'}"
    records = Records(url)
    records.prepare()
    place.release_first(records)
    return Source(models_of(place.bundles, place.data_dir, url).make, NAMES[0], "1")


def tamperings(source: Source) -> Figures:
    """Each change on a copy of its own; what passes and is no documented blind spot counts."""
    with tempfile.TemporaryDirectory() as folder:
        plant = _Plant(Path(folder) / "plant", source)
        plant.begin()
        plant.fill(4)
        plant.begin()
        plant.fill(2)
        plant.records.close()
        assert _problems(plant.folder) == (), _problems(plant.folder)
        found = [(made, _is_noticed(plant.folder, Path(folder) / "copy", made)) for made in generated(plant.folder)]
    passed = [made.name for made, noticed in found if not noticed and not made.documented]
    blind = Counter(made.documented for made, noticed in found if not noticed and made.documented)
    kinds = Counter(made.name.split(" ")[0] for made, _ in found)
    note = (f"{len(found)} tamperings ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}): "
            f"noticed {sum(noticed for _, noticed in found)}, passed as documented {dict(blind)}, "
            f"passed undocumented {len(passed)} {passed}")  # fmt: skip
    return [figure("tamperings of records, anchor and triggers that pass undocumented", len(passed), "tamperings", bound=0,
                   side="max", n=len(found), n_failed=len(passed), note=note)]  # fmt: skip


def restored(source: Source) -> Figures:
    """An older copy of the records comes back beside the present anchor; half of them are written on, without a check."""
    noticed, refused, recovered = 0, 0, 0
    for i in range(N_RESTORED):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            plant = _Plant(folder, source)
            plant.begin()
            plant.fill(1 + i % 3)
            plant.records.close()
            backup = (folder / "records.db").read_bytes()
            plant = _again(plant, source)
            plant.fill(1 + i % 2)
            plant.records.close()
            (folder / "records.db").write_bytes(backup)
            for end in ("-wal", "-shm"):
                (folder / f"records.db{end}").unlink(missing_ok=True)
            plant = _again(plant, source)
            refused += _is_refused(plant)
            plant.fill(i % 4)  # written on, by one who does not start it as the endpoint is started
            noticed += bool(verification.verify(plant.records, plant.anchor.path).problems)
            start.accept(plant.records, plant.anchor.path, OPERATOR, "a disk was replaced", plant.clock())
            recovered += not verification.verify(plant.records, plant.anchor.path).problems and not _is_refused(plant)
            plant.records.close()
    note = (f"{N_RESTORED} older copies restored and written on: noticed {noticed} by verification, {refused} by the start of "
            f"the endpoint; {recovered} went on once a person had accepted them with a reason")  # fmt: skip
    missed = N_RESTORED - min(noticed, refused, recovered)
    return [figure("older copies of the records, restored and written on, that are not noticed or cannot be accepted", missed,
                   "copies", bound=0, side="max", n=N_RESTORED, n_failed=missed, note=note)]  # fmt: skip


def generated(folder: Path) -> list[Tampering]:
    """Changes over all tables and columns, the anchor and the triggers, and of bytes of the anchor by chance."""
    rng = np.random.default_rng(15)
    places = rng.integers(1 << 30, size=N_BYTES)
    made = [_byte(int(place), int(rng.integers(1, 256))) for place in places]
    return [*_of_tables(folder), *_of_triggers(), *_of_anchor(rng), *made]


def _of_tables(folder: Path) -> Iterator[Tampering]:
    with sqlite3.connect(folder / "records.db") as connection:
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for name, table in metadata.tables.items():
        assert name in there
        blind = DOCUMENTED.get(name, "")
        for column in table.columns:
            if isinstance(column.type.python_type(), int):
                changed = f"{column.name} = coalesce({column.name}, 0) + 1000"
            else:
                changed = f"{column.name} = coalesce({column.name}, '') || 'x'"
            for which, order in (("first", "rowid"), ("last", "rowid DESC")):
                one = f"rowid = (SELECT rowid FROM {name} ORDER BY {order} LIMIT 1)"
                yield _sql(
                    f"UPDATE of {name}.{column.name}, {which}", f"UPDATE {name} SET {changed} WHERE {one}", blind
                )
        yield _sql(
            f"DELETE of {name}, first", f"DELETE FROM {name} WHERE rowid = (SELECT min(rowid) FROM {name})", blind
        )
        yield _sql(
            f"DELETE of {name}, last", f"DELETE FROM {name} WHERE rowid = (SELECT max(rowid) FROM {name})", blind
        )
        yield _sql(f"DELETE of {name}, all", f"DELETE FROM {name}", blind)


def _of_triggers() -> Iterator[Tampering]:
    for table in APPEND_ONLY:
        name = f"{table}_no_update"
        dropped = f"DROP TRIGGER {name}; "
        yield _script(f"TRIGGER {name} dropped", dropped)
        weak = f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} BEGIN SELECT 1; END"
        yield _script(f"TRIGGER {name} does nothing", dropped + weak)
        other = f"CREATE TRIGGER {name} BEFORE UPDATE ON head BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        yield _script(f"TRIGGER {name} on another table", dropped + other)
    yield _script("TRIGGER more", "CREATE TRIGGER more AFTER INSERT ON rows BEGIN SELECT 1; END")


def _of_anchor(rng: np.random.Generator) -> Iterator[Tampering]:
    def edit(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Tampering:
        def make(folder: Path) -> None:
            path = folder / "anchor"
            path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

        return Tampering(f"ANCHOR {name}", make)

    yield Tampering("ANCHOR missing", lambda folder: (folder / "anchor").unlink())
    yield Tampering("ANCHOR a folder", _as_folder)
    yield edit("emptied", lambda _: [])
    yield edit("without its first line", lambda lines: lines[1:])
    yield edit("without its last line", lambda lines: lines[:-1])
    yield edit("without its last line end", lambda lines: [*lines[:-1], lines[-1][:-1]])
    yield edit("first half", lambda lines: lines[: len(lines) // 2])
    yield edit("second half", lambda lines: lines[len(lines) // 2 :])
    yield edit("last line twice", lambda lines: [*lines, lines[-1]])
    yield edit("turned round", lambda lines: lines[::-1])
    yield edit("with an empty line", lambda lines: [*lines, b"\n"])
    yield edit("binary", lambda _: [rng.bytes(5_000)])
    yield edit("zeros", lambda _: [b"\0" * 5_000])
    yield edit("JSON", lambda _: [b'{"seq": 1, "hash": null}\n'])
    yield edit("a huge number", lambda lines: [*lines, b"9" * 5_000 + b" " + b"0" * 64 + b" 2026\n"])
    yield edit("a number ahead", lambda lines: [*lines, b"999999 " + b"0" * 64 + b" 2026-01-01T00:00:00Z\n"])
    yield edit("5 MB in one line", lambda _: [b"1" * 5_000_000])
    yield edit("no digests", lambda lines: [b" ".join(line.split()[:3]) + b"\n" for line in lines])


def _as_folder(folder: Path) -> None:
    (folder / "anchor").unlink()
    (folder / "anchor").mkdir()


def _byte(place: int, by: int) -> Tampering:
    def make(folder: Path) -> None:
        path = folder / "anchor"
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= by
        path.write_bytes(bytes(content))

    return Tampering(f"ANCHOR byte {place} changed", make)


def _sql(name: str, statement: str, documented: str) -> Tampering:
    """A statement by someone who takes the triggers away first, and puts them back."""

    def make(folder: Path) -> None:
        with sqlite3.connect(folder / "records.db") as connection:
            guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for guard, _ in guards:
                connection.execute(f"DROP TRIGGER {guard}")
            connection.execute(statement)
            for _, text in guards:
                connection.execute(text)

    return Tampering(name, make, documented)


def _script(name: str, statements: str) -> Tampering:
    def make(folder: Path) -> None:
        with sqlite3.connect(folder / "records.db") as connection:
            connection.executescript(statements)

    return Tampering(name, make)


def _is_noticed(folder: Path, copy: Path, made: Tampering) -> bool:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    made.make(copy)
    return bool(_problems(copy))


def _problems(folder: Path) -> tuple[str, ...]:
    """Problems that are said; any other end than one line is an error of this benchmark."""
    records = Records(f"sqlite:///{folder / 'records.db'}")
    try:
        records.prepare()
        return verification.verify(records, folder / "anchor").problems
    except BatchguardError as error:
        return (str(error),)
    finally:
        records.close()


def _again(plant: _Plant, source: Source) -> _Plant:
    later = _Plant(plant.folder, source)
    later._at_us, later._n = plant._at_us + 1_000_000, plant._n
    return later


def _is_refused(plant: _Plant) -> bool:
    try:
        start.check(plant.records, plant.anchor.path)
    except start.TrailContradictedError:
        return True
    return False


def _signed() -> Signature:
    return Signature("Anna", "review", "id and key")
