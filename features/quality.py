"""Quality flags as historians spell them: words and OPC codes become good, uncertain or bad by rule."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import BAD_QUALITY
from features.process import ProcessHead

_WORD = re.compile(r"(good|uncertain|bad)(.*)", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"\d{1,10}|0[xX][0-9a-fA-F]{1,8}")
_OPC_DA = {0x00: "bad", 0x40: "uncertain", 0xC0: "good"}  # bits 6 and 7 of the quality of OPC Data Access
_OPC_UA = {0: "good", 1: "uncertain", 2: "bad"}  # bits 30 and 31 of an OPC UA status code
_SYNONYMS = {
    "ok": "good",
    "valid": "good",
    "questionable": "uncertain",
    "suspect": "uncertain",
    "substituted": "uncertain",
}
NO_VALUE_WORDS = frozenset(
    [
        "bad",
        "bad input",
        "bad data",
        "bad quality",
        "i/o timeout",
        "io timeout",
        "comm fail",
        "comm failure",
        "no data",
        "not connect",
        "not connected",
        "scan off",
        "scan timeout",
        "configure",
        "out of serv",
        "out of service",
        "invalid data",
        "intf shut",
        "shutdown",
        "pt created",
        "sensor failure",
        "device failure",
        "under range",
        "over range",
        "no result",
        "no sample",
        "calc failed",
        "error",
    ]
)
"""What historians write in the place of a value that could not be read, in lower case."""


def quality_of(spelled: str, codes: str) -> str | None:
    """The quality that a source's flag stands for; None: it stands for none.

    Args:
        spelled: A word such as `Good`, `BadSensorFailure` or `questionable`, or a code such as `192` or `0x80000000`.
        codes: What a number is, `opc_da` or `opc_ua`.
    """
    text = spelled.strip()
    if _CODE.fullmatch(text):
        return _of_code(int(text, 0 if text[:2].lower() == "0x" else 10), codes)
    match = _WORD.match(text)
    if match and _ends_word(match[1], match[2]):
        return match[1].lower()
    return _SYNONYMS.get(text.lower())


def _of_code(code: int, codes: str) -> str | None:
    if codes == "opc_ua":
        return _OPC_UA.get(code >> 30)
    return _OPC_DA.get(code & 0xC0) if code < 1 << 16 else None


def _ends_word(word: str, rest: str) -> bool:
    """Whether a word ends before the rest: at a sign, or where a capital follows a small letter (`BadNoData`)."""
    return not rest or not rest[0].isalpha() or (rest[0].isupper() and word[-1].islower())


def by_rule(quality: pa.Array, head: ProcessHead) -> pa.Array:
    """A raw column of flags with every spelling that the rules know replaced; the others stay as they are.

    Args:
        quality: From `features.parsing.to_arrow`; null where absent.
        head: Of the process definition: what numbers mean.
    """
    if pa.types.is_integer(quality.type) or pa.types.is_floating(quality.type):
        quality = pc.cast(quality, pa.int64(), safe=False).cast(pa.large_string())
    if not pa.types.is_large_string(quality.type):
        return quality
    coded = quality.dictionary_encode()
    names = [quality_of(name, head.quality_codes) or name for name in coded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(names, pa.large_string())).dictionary_decode()


def without_words(value: pa.Array, quality: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Values and flags where a historian's word in the place of a value makes the reading bad and without a value."""
    if not pa.types.is_large_string(value.type):
        return value, quality
    coded = value.dictionary_encode() if len(value) else value
    if not len(value):
        return value, quality
    words = [str(name).strip().lower() in NO_VALUE_WORDS for name in coded.dictionary.to_pylist()]
    if not any(words):
        return value, quality
    says_bad = pc.fill_null(pc.take(pa.array(words), coded.indices), False)
    none, bad = pa.scalar(None, pa.large_string()), pa.scalar(BAD_QUALITY, pa.large_string())
    flags = quality if pa.types.is_large_string(quality.type) else pa.nulls(len(value), pa.large_string())
    return pc.if_else(says_bad, none, value), pc.if_else(says_bad, bad, flags)
