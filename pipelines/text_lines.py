"""Text for a terminal: lines that break between words and are not too long to follow."""

from __future__ import annotations

import textwrap

WIDEST = 100


def wrapped(text: str, width: int, *, first: str = "", following: str = "") -> list[str]:
    """Lines of a text. A word that is longer than a line, such as a path, stays whole.

    Args:
        text: One paragraph.
        width: Of the terminal, in characters; lines are never longer than `WIDEST`.
        first: Stands before the first line.
        following: Stands before the others.
    """
    return textwrap.wrap(
        text, min(width, WIDEST), initial_indent=first, subsequent_indent=following,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
