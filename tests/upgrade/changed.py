"""Changes of the description of 0.1.0: those that break a client, and those that none notices."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

FORMER = json.loads((Path(__file__).parent / "v0_1_0" / "openapi.json").read_text())
PUT, SCORE = ("/v1/batches/{batch_id}", "put"), ("/v1/batches/{batch_id}/scores", "post")


class Changed:
    """A description that a test changes, the former one at first."""

    def __init__(self) -> None:
        self.whole = copy.deepcopy(FORMER)

    def operation(self, path: str, method: str) -> dict:
        return self.whole["paths"][path][method]

    def shape(self, name: str) -> dict:
        return self.whole["components"]["schemas"][name]

    def property(self, shape: str, name: str) -> dict:
        return self.shape(shape)["properties"][name]

    def parameter(self, path: str, method: str, name: str) -> dict:
        return next(p for p in self.operation(path, method)["parameters"] if p["name"] == name)


def gone(holder: dict | list, *names: str) -> None:
    for name in names:
        holder.remove(name) if isinstance(holder, list) else holder.pop(name)


# What was changed, and a part of the line that has to say so.
BROKEN: dict[str, tuple[Callable[[Changed], object], str]] = {
    "a path that is gone": (
        lambda c: gone(c.whole["paths"], "/v2/models/{name}/infer"),
        "POST /v2/models/{name}/infer: is gone",
    ),
    "a method that is gone": (
        lambda c: gone(c.whole["paths"][SCORE[0]], "get"),
        "GET /v1/batches/{batch_id}/scores: is gone",
    ),
    "a parameter that is gone": (
        lambda c: c.operation(*PUT)["parameters"].remove(c.parameter(*PUT, "reason")),
        "parameter reason is gone",
    ),
    "a parameter that is required now": (
        lambda c: c.parameter(*PUT, "Idempotency-Key").update(required=True),
        "parameter idempotency-key is required",
    ),
    "a new parameter that is required": (
        lambda c: c.operation(*SCORE)["parameters"].append(
            {"in": "query", "name": "shape", "required": True, "schema": {}}
        ),
        "parameter shape is required",
    ),
    "a parameter with narrower bounds": (
        lambda c: c.parameter("/v1/batches", "get", "limit")["schema"].update(maximum=100),
        "parameter limit: its bounds",
    ),
    "a parameter with another pattern": (
        lambda c: c.parameter("/v1/scores/{score_id}", "get", "score_id")["schema"].update(pattern="^x"),
        "pattern",
    ),
    "a body that is required now": (
        lambda c: c.operation(*SCORE)["requestBody"].update(required=True),
        "a body is required",
    ),
    "a media type that is gone": (
        lambda c: c.operation(*PUT)["requestBody"].update(content={"application/xml": {}}),
        "body as application/json is gone",
    ),
    "a new property that is required": (
        lambda c: (
            c.shape("Batch")["required"].append("line"),
            c.shape("Batch")["properties"].update(line={"type": "string"}),
        ),
        "body.line: is required",
    ),
    "an optional property that is required now": (
        lambda c: c.shape("Batch")["required"].append("product_id"),
        "body.product_id: is required",
    ),
    "a property that is not accepted any more": (
        lambda c: gone(c.shape("Observation")["properties"], "quality"),
        "body.observations[].quality: is not accepted",
    ),
    "a value that is not accepted any more": (
        lambda c: c.property("Batch", "origin").update(enum=["real"]),
        "'simulated' instead of ['real']",
    ),
    "another type of what is sent": (
        lambda c: c.property("ScoreRequest", "reasons").update(type="string", default="yes"),
        "body.reasons: boolean does not fit string",
    ),
    "a narrower type of what is sent": (
        lambda c: c.property("Observation", "value").update(type="integer"),
        "body.observations[].value: number does not fit integer",
    ),
    "null that is not accepted any more": (
        lambda c: c.property("Batch", "scale_l").update(anyOf=[{"type": "number"}]),
        "body.scale_l: null does not fit number",
    ),
    "a shorter list": (
        lambda c: c.property("Rows", "observations").update(maxItems=10),
        "body.observations: maxItems 20000 against 10",
    ),
    "another default": (
        lambda c: c.property("ScoreRequest", "reasons").update(default=False),
        "body.reasons: its default True is False",
    ),
    "a status that is gone": (
        lambda c: gone(c.operation(*PUT)["responses"], "201"),
        "PUT /v1/batches/{batch_id}: answer 201 is gone",
    ),
    "an answer of another media type": (
        lambda c: c.operation(*PUT)["responses"]["200"].update(content={"text/plain": {}}),
        "answer 200 as application/json is gone",
    ),
    "an answered property that is gone": (
        lambda c: gone(c.shape("Score")["properties"], "assays_pending"),
        "answer 200.assays_pending: is gone",
    ),
    "an answered property that may be absent": (
        lambda c: gone(c.shape("Score")["required"], "rows_seq"),
        "answer 200.rows_seq: may be absent",
    ),
    "another type of what is answered": (
        lambda c: c.property("Taken", "revision").update(type="string"),
        "answer 200.revision: string was not foreseen in integer",
    ),
    "a wider type of what is answered": (
        lambda c: c.property("Taken", "revision").update(type=["integer", "null"]),
        "answer 200.revision: null was not foreseen",
    ),
    "a value that no client foresees": (
        lambda c: c.property("Taken", "verdict")["enum"].append("kept"),
        "answer 200.verdict: 'kept' instead of",
    ),
    "wider bounds of what is answered": (
        lambda c: gone(c.property("Score", "failure_probability"), "maximum"),
        "answer 200.failure_probability: its bounds",
    ),
    "a list of something else": (
        lambda c: c.property("Score", "missing").update(items={"type": "object"}),
        "answer 200.missing[]: object was not foreseen in string",
    ),
    "a map of something else": (
        lambda c: c.property("Score", "stale").update(additionalProperties={"type": "string"}),
        "answer 200.stale.*: string was not foreseen in number",
    ),
    "a credential where none was needed": (
        lambda c: c.operation("/health/live", "get").update(security=[{"bearer": []}]),
        "asks for a credential",
    ),
}
COMPATIBLE: dict[str, Callable[[Changed], object]] = {
    "nothing": lambda _: None,
    "a new path": lambda c: c.whole["paths"].update({"/v3/scores": {"get": {"responses": {}}}}),
    "a new status": lambda c: c.operation(*PUT)["responses"].update({"429": {"description": "Too many"}}),
    "a new optional parameter": lambda c: c.operation(*SCORE)["parameters"].append(
        {"in": "query", "name": "shape", "schema": {}}
    ),
    "a new optional property": lambda c: c.shape("Batch")["properties"].update(line={"type": "string"}),
    "a property that need not be sent": lambda c: gone(c.shape("Batch")["required"], "origin"),
    "one more value": lambda c: c.property("Batch", "origin")["enum"].append("pilot"),
    "any text instead of values": lambda c: (
        gone(c.property("Batch", "origin"), "enum"),
        c.property("Batch", "origin").update(pattern="^[a-z]+$"),
    ),
    "a longer list": lambda c: c.property("Rows", "observations").update(maxItems=30_000),
    "a wider type": lambda c: c.property("Material", "material").update(type=["string", "integer"]),
    "a new answered property": lambda c: c.shape("Score")["properties"].update(call={"type": "string"}),
    "a narrower answer": lambda c: c.property("Score", "elapsed_h").update(type="integer", minimum=0),
    "fewer values answered": lambda c: c.property("Taken", "verdict").update(enum=["accepted"]),
    "an answer that is always there": lambda c: c.shape("Score")["required"].append("assays_pending"),
    "a map whose names are known": lambda c: c.property("ScoreWhatIf", "what_if").update(
        additionalProperties=False, properties={"sentence": {"type": "string"}}
    ),
    "a shape of another name": lambda c: (
        c.whole["components"]["schemas"].update(Kept=c.shape("Taken")),
        c.operation(*PUT)["responses"]["200"]["content"]["application/json"].update(
            schema={"allOf": [{"$ref": "#/components/schemas/Kept"}]}
        ),
    ),
}
