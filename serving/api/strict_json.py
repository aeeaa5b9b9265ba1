"""JSON without its traps: no NaN or infinity, no key twice, no lone surrogate, bounded nesting."""

from __future__ import annotations

import json
from typing import Any

import orjson

from features.errors import BatchguardError


class BadJsonError(BatchguardError):
    """A body that is not JSON, or has two meanings."""


def strict_json(body: bytes) -> Any:
    """Parse a body.

    Whole numbers beyond 64 bits become floats: they are refused where whole ones are wanted.

    Raises:
        BadJsonError: It is not JSON in UTF-8, or one of the traps; the body itself is never repeated.
    """
    try:
        orjson.loads(body)  # refuses what the standard library lets pass: NaN, 1e999, lone surrogates, 1024 levels
        return json.loads(body, object_pairs_hook=_no_key_twice, parse_int=_whole)
    except (orjson.JSONDecodeError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, orjson.JSONDecodeError) else ": nested too deeply"
        raise BadJsonError(f"the body is not valid JSON{where}", expected="JSON by RFC 8259, in UTF-8") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJsonError("a key stands twice in one object", expected="each key once")
    return found


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)
