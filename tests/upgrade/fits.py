"""Whether all values of an inner JSON schema fit an outer one.

Of a request the former schema is the inner one, of an answer the present one is. What cannot be decided (two patterns
that differ) counts as a misfit, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jsonschema_rs

Schema = Mapping[str, Any]
_SAYS_NOTHING = {"title", "description", "default", "examples", "example", "deprecated", "discriminator", "readOnly",
                 "writeOnly", "$comment"}  # fmt: skip
_OF_PARTS = {"properties", "additionalProperties", "items", "propertyNames"}
_COMPARED = {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "required", "minimum", "maximum",
             "exclusiveMinimum", "exclusiveMaximum", *_OF_PARTS}  # fmt: skip
_LEAST, _MOST = ("minLength", "minItems", "minProperties"), ("maxLength", "maxItems", "maxProperties")
ANYTHING: Schema = {}


@dataclass(frozen=True)
class Compared:
    """Two descriptions: values of schemas of the `inner` one have to fit schemas of the `outer` one."""

    way: Literal["request", "answer"]
    inner: Schema
    outer: Schema

    def misfits(
        self, inner: Schema, outer: Schema, at: str, seen: frozenset[tuple[str, str]] = frozenset()
    ) -> list[str]:
        """Why not all values of an inner schema fit an outer one, one line each."""
        pair = str(inner.get("$ref")), str(outer.get("$ref"))
        if "None" not in pair:
            if pair in seen:
                return []  # it is being compared: a shape that holds itself
            seen |= {pair}
        one, other = list(alternatives(inner, self.inner)), list(alternatives(outer, self.outer))
        found = [line for way in one for line in self._closest(way, other, at, seen)]
        defaults = [schema["default"] for schema in (inner, outer) if "default" in schema]
        if self.way == "request" and len(defaults) == 2 and defaults[0] != defaults[1]:
            found.append(f"{at}: its default {defaults[0]!r} is {defaults[1]!r}")
        return found

    def _closest(self, inner: Schema, outers: Sequence[Schema], at: str, seen: frozenset[tuple[str, str]]) -> list[str]:
        """Misfits of one alternative with the one that it fits best."""
        same = [outer for outer in outers if _is_of_type(inner, outer)]
        if not same:
            kinds = sorted({str(outer.get("type", "enum")) for outer in outers})
            said = "does not fit" if self.way == "request" else "was not foreseen in"
            return [f"{at}: {inner.get('type', 'any value')} {said} {' or '.join(kinds)}"]
        return min((list(self._of_one(inner, outer, at, seen)) for outer in same), key=len)

    def _of_one(self, inner: Schema, outer: Schema, at: str, seen: frozenset[tuple[str, str]]) -> Iterator[str]:
        yield from (f"{at}: {line}" for line in _of_values(inner, outer))
        if "items" in outer:
            yield from self.misfits(inner.get("items", ANYTHING), outer["items"], f"{at}[]", seen)
        if "propertyNames" in outer:
            yield from self.misfits(inner.get("propertyNames", ANYTHING), outer["propertyNames"], f"{at}: names", seen)
        if inner.get("type") == outer.get("type") == "object":
            yield from self._of_properties(inner, outer, at, seen)

    def _of_properties(self, inner: Schema, outer: Schema, at: str, seen: frozenset[tuple[str, str]]) -> Iterator[str]:
        has, known = inner.get("properties", {}), outer.get("properties", {})
        for name in sorted(set(outer.get("required", ())) - set(inner.get("required", ()))):
            yield f"{at}.{name}: {'is required' if self.way == 'request' else 'may be absent'}"
        rest, rest_known = (schema.get("additionalProperties", True) for schema in (inner, outer))
        for name, schema in has.items():
            if name in known:
                yield from self.misfits(schema, known[name], f"{at}.{name}", seen)
            elif isinstance(rest_known, Mapping):
                yield from self.misfits(schema, rest_known, f"{at}.{name}", seen)
            elif self.way == "request" and rest_known is False:
                yield f"{at}.{name}: is not accepted"
        if self.way == "answer":
            yield from (f"{at}.{name}: is gone" for name in known if name not in has)
        if self.way == "request" and rest is not False and rest_known is False:
            yield f"{at}: other properties are not accepted"
        elif isinstance(rest_known, Mapping) and rest is not False and (isinstance(rest, Mapping) or not has):
            yield from self.misfits(rest if isinstance(rest, Mapping) else ANYTHING, rest_known, f"{at}.*", seen)


def alternatives(schema: Schema, description: Schema) -> Iterator[Schema]:
    """The schemas of one type, or of any, whose values together are a schema's values; no references at their top."""
    schema = _resolved(schema, description)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            rest = {name: value for name, value in schema.items() if name != several}
            for one in schema[several]:
                yield from alternatives(rest | dict(_resolved(one, description)), description)
            return
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        yield schema if kind is None else {**schema, "type": kind}


def _resolved(schema: Schema, description: Schema) -> Schema:
    """A schema without `$ref`, `allOf` and `const` at its top."""
    found = dict(schema)
    while "$ref" in found or "allOf" in found:
        parts = [*found.pop("allOf", ())]
        if "$ref" in found:
            parts.append(_at(description, found.pop("$ref")))
        for part in parts:
            found = dict(part) | found | _both(part, found)
    return found | {"enum": [found.pop("const")]} if "const" in found else found


def _both(one: Schema, other: Schema) -> dict[str, Any]:
    """What two shapes of one object say together."""
    found: dict[str, Any] = {}
    if "properties" in one and "properties" in other:
        found["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        found["required"] = [*one["required"], *other["required"]]
    return found


def _at(description: Schema, reference: str) -> Schema:
    found: Any = description
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def _is_of_type(inner: Schema, outer: Schema) -> bool:
    wanted = outer.get("type")
    return wanted is None or inner.get("type") == wanted or (inner.get("type"), wanted) == ("integer", "number")


def _of_values(inner: Schema, outer: Schema) -> Iterator[str]:
    """Misfits of enumerated values, bounds, and whatever else restricts: the same, or absent in the outer one."""
    if "enum" in inner:
        shape = {name: value for name, value in outer.items() if name not in _OF_PARTS}
        more = [value for value in inner["enum"] if not jsonschema_rs.is_valid(shape, value)]
        if more:
            yield f"{', '.join(map(repr, more))} instead of {outer.get('enum', shape)}"
        return
    if "enum" in outer:
        yield f"any value instead of {outer['enum']}"
    if _low(inner) < _low(outer) or _low(_mirrored(inner)) < _low(_mirrored(outer)):
        yield "its bounds are wider than the other's"
    for names, sign in ((_LEAST, 1), (_MOST, -1)):
        for name in names:
            if name in outer and (name not in inner or sign * inner[name] < sign * outer[name]):
                yield f"{name} {inner.get(name, 'none')} against {outer[name]}"
    for name in outer.keys() - _SAYS_NOTHING - _COMPARED - {*_LEAST, *_MOST}:
        if not name.startswith("x-") and inner.get(name) != outer[name]:
            yield f"{name} {inner.get(name, 'none')} against {outer[name]}"


def _low(schema: Schema) -> tuple[float, bool]:
    """Lower bound, and whether it is excluded; a greater tuple leaves fewer values."""
    bounds = [(schema[name], name != "minimum") for name in ("minimum", "exclusiveMinimum") if name in schema]
    return max(bounds, default=(float("-inf"), False))


def _mirrored(schema: Schema) -> Schema:
    """Upper bounds as lower ones of the negative values."""
    names = {"maximum": "minimum", "exclusiveMaximum": "exclusiveMinimum"}
    return {names[name]: -value for name, value in schema.items() if name in names}
