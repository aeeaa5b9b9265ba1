"""Mutations of bundle and envelope, each refused before LightGBM or our forest sees a byte; tamperings of the trail of releases."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import lightgbm as lgb

from benchmarks.record import figure
from benchmarks.release.office import Office, by
from models.learners.forest import Forest
from models.predictor import Predictor
from serving.audit import verification
from serving.audit.anchor import Anchor
from serving.bundle.manifest import BundleError
from serving.bundle.store import BundleStore
from serving.ids import now_us
from serving.records.store import Records
from serving.records.tables import metadata
from serving.release.documents import sign_document
from serving.release.dsse import EnvelopeError
from serving.release.history import envelope_of_release
from serving.release.site_keys import trusted_keys

TABLES = ("release_actions", "signed_documents", "audit", "head")


def of_bundles(office: Office, n: int) -> dict[str, Any]:
    """Half of the mutations are of the envelope, half of the files of the bundle."""
    office.open()
    release_id = _released(office, "1")
    records = Records(office.url)
    with records.read() as connection:
        envelope = envelope_of_release(connection, release_id)
    store, trusted, rng = BundleStore(office.bundles), trusted_keys(office.keys), random.Random(7)  # noqa: S311
    store.sealed(release_id, envelope, trusted)
    folder = office.bundles / release_id
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    passed, told = 0, Counter[str]()
    with _no_model():
        for i in range(n):
            path = rng.choice(files)
            content = path.read_bytes()
            text = envelope if i % 2 else _mutated(envelope.encode(), rng).decode("utf-8", "surrogateescape")
            if i % 2:
                path.write_bytes(_mutated(content, rng))
            try:
                store.sealed(release_id, text, trusted)
                passed += 1
            except (EnvelopeError, BundleError) as error:
                told[type(error).__name__] += 1
            path.write_bytes(content)
    records.close()
    note = f"refused as {dict(told)}; LightGBM, the forest and the predictor were replaced by what raises, and nothing raised"
    return figure("mutations of bundle and envelope that are not refused before a model is loaded", passed, "mutations", bound=0,
                  side="max", n=n, n_failed=passed, note=note)  # fmt: skip


def of_trail(office: Office, n: int) -> dict[str, Any]:
    """Changes of the tables of releases and of the trail behind the back of the software, with the triggers taken away."""
    office.open()
    for version in ("1", "2", "3"):
        _released(office, version)
    records, anchor = Records(office.url), Anchor(office.folder / "anchor", 0.0)
    sign_document(records, office.service(records).signers, "acceptance", "made", "bound = 1", by("boris"))
    office.service(records).rollback(by("boris"))
    anchor.note(records.head(), now_us(), at_once=True)
    records.close()
    assert _problems(office.folder) == ()
    copy, rng, passed, kinds = office.folder.with_name("tampered"), random.Random(8), [], Counter[str]()  # noqa: S311
    for statement in _statements(office.folder / "records.db", n, rng):
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in ("records.db", "anchor"):
            shutil.copy(office.folder / name, copy / name)
        _tamper(copy / "records.db", statement)
        kinds[statement.split(" ")[0]] += 1
        if not _problems(copy):
            passed.append(statement)
    note = f"{dict(kinds)} on {', '.join(TABLES)}; passed {passed[:3]}"
    return figure("tamperings of releases, documents and their trail that pass", len(passed), "tamperings", bound=0, side="max",
                  n=n, n_failed=len(passed), note=note)  # fmt: skip


def _released(office: Office, version: str) -> str:
    release_id = office.submit(version)
    records = Records(office.url)
    service = office.service(records)
    service.approve(release_id, by("boris"))
    service.make_effective(release_id, by("clara"))
    records.close()
    return release_id


def _mutated(content: bytes, rng: random.Random) -> bytes:
    """Another content: a bit or byte changed, something cut, doubled, inserted or exchanged."""
    while True:
        place, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        match rng.randrange(6):
            case 0:
                at = min(place, len(content) - 1)
                found = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
            case 1:
                found = content[:place]
            case 2:
                found = content[:place] + content[end:]
            case 3:
                found = content[:place] + rng.randbytes(rng.randrange(1, 9)) + content[place:]
            case 4:
                found = content[:end] + content[place:]
            case _:
                found = content[:place] + content[place:end][::-1] + content[end:]
        if found != content:
            return found


class _no_model:  # noqa: N801 - reads as a with statement
    """Whatever would load a model raises what no check catches."""

    def __enter__(self) -> None:
        self._kept = (Predictor.load, Forest.__init__, lgb.Booster.__init__)

        def loaded(*_: object, **__: object) -> Never:
            raise AssertionError("a model was loaded")

        for owner, name in ((Predictor, "load"), (Forest, "__init__"), (lgb.Booster, "__init__")):
            setattr(owner, name, loaded)

    def __exit__(self, *_: object) -> None:
        Predictor.load, Forest.__init__, lgb.Booster.__init__ = self._kept  # ty: ignore[invalid-assignment]


def _statements(database: Path, n: int, rng: random.Random) -> Iterator[str]:
    """Statements that change something, over all columns and rows of the tables."""
    with sqlite3.connect(database) as connection:
        rows = {name: connection.execute(f"SELECT rowid FROM {name}").fetchall() for name in TABLES}  # noqa: S608
    columns = [(name, column) for name in TABLES for column in metadata.tables[name].columns]
    for i in range(n):
        name, column = columns[i % len(columns)]
        [row] = rng.choice(rows[name])
        if rng.random() < 0.1:
            yield f"DELETE FROM {name} WHERE rowid = {row}"  # noqa: S608
            continue
        text = column.type.python_type is str
        added = f"|| '{rng.choice('abcx0 ')}'" if text else f"+ {rng.randrange(1, 9_999)}"
        value = f"coalesce({column.name}, {repr('') if text else 0}) {added}"
        yield f"UPDATE {name} SET {column.name} = {value} WHERE rowid = {row}"  # noqa: S608


def _tamper(database: Path, statement: str) -> None:
    with sqlite3.connect(database) as connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(statement).rowcount == 1, statement
        for _, text in guards:
            connection.execute(text)
    connection.close()


def _problems(folder: Path) -> tuple[str, ...]:
    records = Records(f"sqlite:///{folder / 'records.db'}")
    try:
        return verification.verify(records, folder / "anchor").problems
    finally:
        records.close()
