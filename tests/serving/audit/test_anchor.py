"""The file that says where the audit chain ended: whole lines or none, whatever the disk does."""

import os
from pathlib import Path

import pytest

from serving.audit.anchor import Anchor, read_anchor
from serving.records.store import Head
from tests.serving.services import NOON


def head(seq: int) -> Head:
    return Head(seq, f"{seq:064x}", 0)


def noted(path: Path) -> list[int]:
    content = read_anchor(path)
    assert content.problems == []
    return [line.seq for line in content.lines]


def test_the_anchor_notes_once_an_interval_and_never_goes_back(tmp_path) -> None:
    elapsed_s = iter((100, 100, 105, 111, 111, 999)).__next__
    anchor = Anchor(tmp_path / "anchor", 10, elapsed_s)
    for seq in (1, 2, 3, 3):
        anchor.note(Head(seq, "a" * 64, 0), NOON)
    assert [line.split(" ")[0] for line in anchor.path.read_text().splitlines()] == ["1", "3"]


@pytest.mark.parametrize("step_us", [-3_600_000_000, 3_600_000_000])
def test_a_step_of_the_clock_does_not_silence_the_anchor(tmp_path, step_us) -> None:
    anchor = Anchor(tmp_path / "anchor", 1.0, iter(range(100)).__next__)
    for seq, at_us in ((1, NOON), (2, NOON + step_us), (3, NOON + step_us + 1), (4, NOON)):
        anchor.note(head(seq), at_us)
    assert noted(anchor.path) == [1, 2, 3, 4]


def test_an_anchor_that_cannot_be_written_stops_nobody(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    anchor = Anchor(tmp_path / "file" / "anchor")  # below a file nothing can be written
    anchor.note(Head(1, "a" * 64, 0), NOON)
    assert not anchor.path.exists()
    assert (tmp_path / "file").read_text() == ""


def test_a_disk_that_takes_half_a_line_leaves_whole_lines_and_the_next_attempt_waits(tmp_path, monkeypatch) -> None:
    now_s = [0.0]
    anchor, write, attempts = Anchor(tmp_path / "anchor", elapsed_s=lambda: now_s[0]), os.write, []
    anchor.note(head(1), 0)

    def half(handle: int, content: bytes) -> int:
        attempts.append(content)
        return write(handle, content[:20])

    monkeypatch.setattr(os, "write", half)
    for now_s[0] in (1.0, 1.5, 1.9):
        anchor.note(head(2), NOON)
    monkeypatch.undo()
    assert len(attempts) == 1
    assert noted(anchor.path) == [1]
    now_s[0] = 2.0
    anchor.note(head(3), NOON)
    assert [(line.seq, line.hash) for line in read_anchor(anchor.path).lines] == [(1, f"{1:064x}"), (3, f"{3:064x}")]


@pytest.mark.parametrize("begun", ["2", "2 00ab", f"2 {2:064x} 2026-01-01T00:0"])
def test_a_line_that_was_not_written_to_its_end_does_not_count(tmp_path, begun) -> None:
    """As a machine leaves it that went down meanwhile."""
    anchor = Anchor(tmp_path / "anchor")
    anchor.note(head(1), 0)
    anchor.path.write_text(anchor.path.read_text() + begun)
    assert noted(anchor.path) == [1]
    Anchor(anchor.path).note(head(3), 1_000_000)
    assert noted(anchor.path) == [1, 3]
    assert len(anchor.path.read_text().splitlines()) == 2


def test_a_file_that_is_no_anchor_is_not_touched(tmp_path) -> None:
    (tmp_path / "notes").write_text("remember the milk")
    Anchor(tmp_path / "notes").note(head(1), 0)
    assert (tmp_path / "notes").read_text() == "remember the milk"
