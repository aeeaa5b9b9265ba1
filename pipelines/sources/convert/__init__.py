"""Worked examples of "bring your own data": a public layout in, a history folder out.

A converter keeps the rows of the source, lists in `Converted.notes` what was assumed and left out, and refuses files
that it cannot read. See `docs/own-data.md`.
"""

from __future__ import annotations

from pipelines.sources.convert import ai4i, indpensim, secom, tablet1005
from pipelines.sources.convert.history import Converted, Converter

CONVERTERS: dict[str, Converter] = {
    "tablet1005": tablet1005.convert,
    "secom": secom.convert,
    "indpensim": indpensim.convert,
    "ai4i": ai4i.convert,
}

__all__ = ["CONVERTERS", "Converted", "Converter"]
