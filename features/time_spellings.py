"""Times with an offset in spellings other than ISO 8601 extended format, which exports often have."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import numpy as np
import pyarrow as pa

_OFFSET = r"(?:Z|[+-]\d{2}(?::?\d{2})?)"
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\u2212\u2013]"), "-"),  # a minus sign or a dash before the offset
    (re.compile(rf"({_OFFSET})\[[A-Z0-9_/+-]+\]$"), r"\1"),  # RFC 9557: ...+01:00[Europe/Berlin]
    (re.compile(r"\s*(?:UTC|GMT)\s*(?=[+-]\d)"), ""),  # ... UTC+01:00
    (re.compile(r"\s*(?:UTC|GMT|Z)$"), "Z"),
    (re.compile(r"^(\d{4})[/.](\d{2})[/.](\d{2})(?=\D)"), r"\1-\2-\3"),  # the year first: no other order is meant
    (re.compile(r"^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(?=\D|$)"), r"\1-\2-\3T\4:\5"),  # basic format
    (re.compile(r"^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})"), r"\1-\2-\3T\4:\5:\6"),
    (re.compile(rf"^(\d{{4}}-\d{{2}}-\d{{2}}[T ]\d{{2}})\s*({_OFFSET})$"), r"\1:00\2"),  # hours alone
    (re.compile(r"(:\d{2}),(\d{1,9})"), r"\1.\2"),  # a comma before the fraction, as ISO 8601 prefers
    (re.compile(r"\s+([+-]\d{1,2}(?::?\d{2})?)$"), r"\1"),  # a blank before the offset
    (re.compile(r"(:\d{2}(?:\.\d+)?[+-])(\d(?::\d{2})?)$"), r"\g<1>0\2"),  # an offset of one digit
)
_MAIL = re.compile(r"(?:[A-Za-z]{3},\s*)?\d{1,2} [A-Za-z]{3} \d{4} \d{2}:\d{2}(?::\d{2})? (?:[+-]\d{4}|GMT|UTC|UT)")


def as_iso(raw: pa.Array, done: np.ndarray) -> pa.Array:
    """Texts of times respelled in ISO 8601 where they are not so yet; what is no such time stays as it is.

    Args:
        raw: `large_string`.
        done: Texts that need nothing.
    """
    rest = np.flatnonzero(~done)
    if not len(rest):
        return raw
    texts = raw.take(pa.array(rest)).to_pylist()
    respelled = {text: _respelled(text) for text in set(texts) if text is not None}
    if all(text == respelled.get(text, text) for text in texts):
        return raw
    whole = raw.to_numpy(zero_copy_only=False).astype(object)
    whole[rest] = [None if text is None else respelled[text] for text in texts]
    return pa.array(whole, pa.large_string())


def _respelled(text: str) -> str:
    found = text.strip()
    if _MAIL.fullmatch(found):
        try:
            return parsedate_to_datetime(re.sub(r" UTC?$", " GMT", found)).isoformat()
        except ValueError:
            return text
    found = found.upper()
    for pattern, by in _STEPS:
        found = pattern.sub(by, found)
    return found
