"""The file that says where the audit chain ended: whole lines or none, whatever the disk does."""

import os

import pytest

from features.errors import StorageError
from serving.audit import verification
from serving.audit.chain import Anchor, anchored_in
from serving.records.store import Head
from tests.serving.services import NOON


def head(seq: int) -> Head:
    return Head(seq, f"{seq:064x}", 0)


def test_the_anchor_notes_once_an_interval_and_never_goes_back(tmp_path) -> None:
    anchor = Anchor(tmp_path / "anchor", interval_us=10)
    for seq, at_us in ((1, 100), (2, 105), (3, 111), (3, 999)):
        anchor.note(Head(seq, "a" * 64, 0), at_us)
    assert [line.split(" ")[0] for line in anchor.path.read_text().splitlines()] == ["1", "3"]


@pytest.mark.parametrize("step_us", [-3_600_000_000, 3_600_000_000])
def test_a_step_of_the_clock_does_not_silence_the_anchor(tmp_path, step_us) -> None:
    anchor = Anchor(tmp_path / "anchor", interval_us=1_000_000)
    anchor.note(head(1), NOON)
    anchor.note(head(2), NOON + step_us)
    anchor.note(head(3), NOON + step_us + 1_000_000)
    anchor.note(head(4), NOON)  # the clock is put right
    assert sorted(anchored_in(anchor.path)) == [1, 2, 3, 4]


def test_an_anchor_that_is_none_is_said(records, tmp_path) -> None:
    (tmp_path / "anchor").write_text("1 short\n")
    with pytest.raises(StorageError, match="anchor:1"):
        verification.verify(records, tmp_path / "anchor")


def test_an_anchor_that_cannot_be_written_stops_nobody(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    anchor = Anchor(tmp_path / "file" / "anchor")  # below a file nothing can be written
    anchor.note(Head(1, "a" * 64, 0), NOON)
    assert not anchor.path.exists()
    assert (tmp_path / "file").read_text() == ""


def test_a_disk_that_takes_half_a_line_leaves_whole_lines_and_the_next_attempt_waits(tmp_path, monkeypatch) -> None:
    anchor, write, attempts = Anchor(tmp_path / "anchor"), os.write, []
    anchor.note(head(1), 0)

    def half(handle: int, content: bytes) -> int:
        attempts.append(content)
        return write(handle, content[:20])

    monkeypatch.setattr(os, "write", half)
    for at_us in (1_000_000, 1_500_000, 1_900_000):
        anchor.note(head(2), at_us)
    monkeypatch.undo()
    assert len(attempts) == 1
    assert list(anchored_in(anchor.path)) == [1]
    anchor.note(head(3), 2_000_000)
    assert anchored_in(anchor.path) == {1: f"{1:064x}", 3: f"{3:064x}"}


@pytest.mark.parametrize("begun", ["2", "2 00ab", f"2 {2:064x} 2026-01-01T00:0"])
def test_a_line_that_was_not_written_to_its_end_does_not_count(tmp_path, begun) -> None:
    """As a machine leaves it that went down meanwhile."""
    anchor = Anchor(tmp_path / "anchor")
    anchor.note(head(1), 0)
    anchor.path.write_text(anchor.path.read_text() + begun)
    assert list(anchored_in(anchor.path)) == [1]
    Anchor(anchor.path).note(head(3), 1_000_000)
    assert list(anchored_in(anchor.path)) == [1, 3]
    assert len(anchor.path.read_text().splitlines()) == 2


def test_a_file_that_is_no_anchor_is_not_touched(tmp_path) -> None:
    (tmp_path / "notes").write_text("remember the milk")
    Anchor(tmp_path / "notes").note(head(1), 0)
    assert (tmp_path / "notes").read_text() == "remember the milk"
