"""Trail and anchor at a start of the endpoint, and what a person can do where they contradict each other."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.audit import chain, start, verification
from serving.audit.anchor import Anchor, AnchorTimer, read_anchor
from serving.audit.chain import Actor
from serving.commands import RecordsAdmin
from serving.records.store import Head, Records, read_only_url
from tests.serving.services import NOON

ACTOR = Actor("local:anna", "operator", "r1")


def write(records: Records, n: int, what: str = "thing") -> None:
    for i in range(n):
        with records.write() as (connection, now):
            chain.append(connection, now, ACTOR, "note", f"{what}:{i}", at_us=NOON, new={"i": i})


def noted(records: Records, anchor: Anchor) -> None:
    anchor.note(records.head(), NOON, at_once=True)


def problems(records: Records, anchor: Anchor) -> tuple[str, ...]:
    return verification.verify(records, anchor.path).problems


def cut_to(records: Records, seq: int) -> None:
    """The records as an older copy of them was: without the entries after one."""
    sqlite = records.engine.dialect.name == "sqlite"
    with records.engine.connect() as connection, connection.begin():
        if sqlite:
            [guard] = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'audit_no_delete'")).scalars()
            connection.execute(text("DROP TRIGGER audit_no_delete"))
        else:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM audit WHERE seq > :seq"), {"seq": seq})
        last = "(SELECT hash FROM audit WHERE seq = :seq)"
        connection.execute(text(f"UPDATE head SET audit_seq = :seq, audit_hash = {last}"), {"seq": seq})  # noqa: S608
        if sqlite:
            connection.execute(text(guard))


@pytest.mark.parametrize("written_on", [0, 1, 2, 5])
def test_an_older_copy_is_refused_at_the_start_and_goes_on_once_a_person_says_why(
    records, tmp_path, written_on
) -> None:
    anchor = Anchor(tmp_path / "anchor", 0.0)
    write(records, 2)
    start.begin(records, anchor, ACTOR, NOON)
    write(records, 2)
    noted(records, anchor)
    assert problems(records, anchor) == ()
    cut_to(records, 3)
    write(records, written_on, "after the restore")
    noted(records, Anchor(anchor.path))
    with pytest.raises(start.TrailContradictedError, match=r"older copy of the records.*audit accept --why"):
        start.begin(records, anchor, ACTOR, NOON)
    assert problems(records, anchor) != ()

    start.accept(records, anchor.path, ACTOR, "a disk was replaced", NOON)
    again = Anchor(anchor.path)
    start.begin(records, again, ACTOR, NOON)
    found = verification.verify(records, anchor.path)
    assert found.problems == ()
    assert found.notes == (f"entry {4 + written_on}: local:anna began the anchor anew: a disk was replaced",)
    assert [line.seq for line in read_anchor(tmp_path / "anchor.1").lines][-1] >= 5
    cut_to(records, 3)
    assert problems(records, anchor) != ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "there is no anchor"),
        (lambda _: [], "is empty"),
        (lambda lines: lines[:1], "is not the one of entry"),
        (lambda lines: lines[:-1], "the anchor ends at entry"),
        (lambda lines: lines[1:], "the line, or those before it, were changed"),
        (lambda lines: [*lines, lines[0]], "the numbers fall from"),
        (lambda lines: [*lines, lines[-1]], "is there twice"),
        (lambda lines: [*lines, b"\n"], "no line of an anchor"),
        (lambda lines: [*lines, b'{"seq": 1}\n'], "no line of an anchor"),
        (lambda lines: [*lines, b"\0" * 300_000], "no line of an anchor"),
        (lambda lines: [*lines, b"9" * 4_301 + b"\n"], "no line of an anchor"),
        (lambda lines: [*lines, "²".encode() + b" " + b"0" * 64 + b" 2026\n"], "no line of an anchor"),
        (lambda lines: [*lines, b"\xff\xfe\n"], "no line of an anchor"),
        (lambda lines: [*lines, b"8" * 18 + b" " + b"0" * 64 + b" 2026\n"], "of the anchor is gone"),
    ],
)
def test_an_anchor_that_is_not_what_it_was_is_said(records, tmp_path, change, said) -> None:
    anchor = Anchor(tmp_path / "anchor", 0.0)
    for _ in range(2):
        write(records, 1)
        noted(records, anchor)
        start.begin(records, anchor, ACTOR, NOON)
    write(records, 1)
    noted(records, anchor)
    assert problems(records, anchor) == ()
    lines = change(anchor.path.read_bytes().splitlines(keepends=True))
    if lines is None:
        anchor.path.unlink()
    else:
        anchor.path.write_bytes(b"".join(lines))
    assert any(said in problem for problem in problems(records, anchor)), problems(records, anchor)


def test_a_folder_in_place_of_the_anchor_is_one_line_and_can_be_replaced(records, tmp_path) -> None:
    anchor = Anchor(tmp_path / "anchor", 0.0)
    write(records, 1)
    anchor.path.mkdir()
    start.begin(records, anchor, ACTOR, NOON)  # the records are whole: only the log says it
    [said] = problems(records, anchor)
    assert "cannot be read: it is not a regular file" in said
    start.accept(records, anchor.path, ACTOR, "a wrong path", NOON)
    assert problems(records, anchor) == ()


def test_a_head_that_is_not_the_end_of_the_trail_is_refused_and_put_right(records, tmp_path) -> None:
    write(records, 3)
    with records.engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE head SET audit_seq = 2"))
    with pytest.raises(start.TrailContradictedError, match="ends at entry 2; it ends at 3"):
        start.check(records, tmp_path / "anchor")
    start.accept(records, tmp_path / "anchor", ACTOR, "repaired", NOON)
    assert problems(records, Anchor(tmp_path / "anchor")) == ()


def test_the_timer_notes_the_end_of_a_burst_though_nothing_follows(tmp_path) -> None:
    heads = [Head(1, "a" * 64, 0), Head(4, "b" * 64, 0), Head(4, "b" * 64, 0)]
    anchor = Anchor(tmp_path / "anchor", 1.0, lambda: 0.0)  # no time passes
    timer = AnchorTimer(anchor, iter(heads).__next__, lambda: NOON)
    for _ in heads:
        timer.turn()
    assert [line.seq for line in read_anchor(anchor.path).lines] == [1, 4]


def test_lines_of_the_former_format_are_read_on_and_covered_by_the_digest_of_the_next(records, tmp_path) -> None:
    anchor = Anchor(tmp_path / "anchor", 0.0)
    write(records, 2)
    with records.read() as connection:
        former = [f"{e.seq} {e.hash} 2026-03-01T12:00:00.000000Z\n" for e in chain.entries(connection)]
    anchor.path.write_text("".join([*former, former[-1]]))  # a restart noted the same end again
    start.begin(records, anchor, ACTOR, NOON)
    assert problems(records, anchor) == ()
    anchor.path.write_text(anchor.path.read_text().replace("12:00:00", "12:00:01", 1))
    assert any("were changed" in said for said in problems(records, anchor))


def test_a_write_protected_copy_is_verified_and_exported_and_stays_as_it_is(tmp_path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with RecordsAdmin(data) as admin:
        list(admin.add_key("MES", role="mes", sites=["*"], person=False, days=None))
    with sqlite3.connect(data / "records.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.mkdir()
    for name in ("records.db", "audit.anchor"):
        (copy / name).write_bytes((data / name).read_bytes())
        (copy / name).chmod(0o440)
    copy.chmod(0o550)
    before = content_of(copy)
    with RecordsAdmin(copy, only_reads=True) as admin:
        assert admin.verify().problems == ()
        assert len(list(admin.export())) == 1
        assert content_of(copy) == before
    assert content_of(copy) == before
    copy.chmod(0o750)
    assert "immutable" in read_only_url(f"sqlite:///{copy / 'records.db'}")
    assert read_only_url("postgresql://u@h/d") == "postgresql://u@h/d"


def content_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
