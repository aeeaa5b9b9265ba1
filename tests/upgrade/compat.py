"""Whether a client that was written for one OpenAPI description goes on working with another one.

A request that fitted has to fit; an answer has to be one that the client knows. Answers may say more than it knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tests.upgrade.fits import ANYTHING, Compared, Schema


def problems(former: Schema, present: Schema) -> list[str]:
    """What of a former description a present one does not keep, one line each.

    Args:
        former: The description that the client was written for.
        present: The description of what answers it now.
    """
    return [f"{method.upper()} {path}: {line}" for path, method, line in _problems(former, present)]


def _problems(former: Schema, present: Schema) -> Iterator[tuple[str, str, str]]:
    for path, operations in former["paths"].items():
        for method, before in operations.items():
            now = present["paths"].get(path, {}).get(method)
            if now is None:
                yield path, method, "is gone"
                continue
            for line in chain(_of_request(before, now, former, present), _of_answers(before, now, former, present)):
                yield path, method, line


def _of_request(before: Schema, now: Schema, former: Schema, present: Schema) -> Iterator[str]:
    if before.get("security") == [] and now.get("security") != []:
        yield "asks for a credential"
    compared = Compared("request", former, present)
    had, has = _parameters(before), _parameters(now)
    for key in had.keys() - has.keys():
        yield f"parameter {key[1]} is gone"
    for key, parameter in has.items():
        if parameter.get("required", False) and not had.get(key, ANYTHING).get("required", False):
            yield f"parameter {key[1]} is required"
        if key in had:
            yield from compared.misfits(
                had[key].get("schema", ANYTHING), parameter.get("schema", ANYTHING), f"parameter {key[1]}"
            )
    body, body_now = before.get("requestBody", ANYTHING), now.get("requestBody", ANYTHING)
    if body_now.get("required", False) and not body.get("required", False):
        yield "a body is required"
    yield from _of_content(compared, body, body_now, "body")


def _of_answers(before: Schema, now: Schema, former: Schema, present: Schema) -> Iterator[str]:
    compared = Compared("answer", present, former)
    for status, answer in before["responses"].items():
        if status not in now["responses"]:
            yield f"answer {status} is gone"
        else:
            yield from _of_content(compared, answer, now["responses"][status], f"answer {status}")


def _of_content(compared: Compared, before: Schema, now: Schema, at: str) -> Iterator[str]:
    for kind, content in before.get("content", {}).items():
        if kind not in now.get("content", {}):
            yield f"{at} as {kind} is gone"
            continue
        schemas = content.get("schema", ANYTHING), now["content"][kind].get("schema", ANYTHING)
        former, present = schemas if compared.way == "request" else schemas[::-1]
        yield from compared.misfits(former, present, at)


def _parameters(operation: Schema) -> dict[tuple[str, str], Schema]:
    found = operation.get("parameters", ())
    return {(p["in"], p["name"].lower() if p["in"] == "header" else p["name"]): p for p in found}
