"""Blocks of features beside their rows."""

from __future__ import annotations

import pandas as pd
import pytest

from features.dictionary import Block, Feature, from_frame, join, to_frame

ROWS = pd.DataFrame({"batch_id": ["a", "b"]})


def block(name: str, values=(1.0, 2.0), index=None) -> Block:
    return Block(pd.DataFrame({name: values}, index=index), (Feature(name, "p", "P", "", "now", "value", "the p"),))


def test_blocks_stand_beside_their_rows_with_one_entry_per_column() -> None:
    frame, features = join(ROWS, [block("p.now.value"), block("q.now.value")])
    assert list(frame.columns) == ["batch_id", "p.now.value", "q.now.value"]
    assert [f.name for f in features] == ["p.now.value", "q.now.value"]


def test_a_feature_made_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'p\.now\.value' is made twice"):
        join(ROWS, [block("p.now.value"), block("p.now.value")])


def test_a_block_with_other_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="other rows"):
        join(ROWS, [block("p.now.value", index=[1, 2])])


def test_the_dictionary_survives_being_a_frame() -> None:
    entries = block("p.now.value").features
    assert from_frame(to_frame(entries)) == entries
