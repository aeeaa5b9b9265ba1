"""What the Open Inference Protocol has of its own on HTTP: the form of its errors, and bodies without a media type."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import orjson
from fastapi import Request, Response
from pydantic import JsonValue
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.canonical import canonical
from serving.api import examples
from serving.api.fields import example
from serving.api.guard import BadJsonError, GuardedRoute
from serving.api.problems import MEDIA_TYPE as PROBLEM
from serving.api.replies import problems
from serving.api.responses import Problem

JSON = "application/json"
JSON_LENGTH = "inference-header-content-length"  # bytes of JSON before the binary tensors
_MOST_TEXT, _MOST_ERRORS = 800, 3


class InferenceError(Problem):
    """An error of the Open Inference Protocol, with the members of an RFC 9457 problem."""

    model_config = example(examples.INFERENCE_ERROR, extra="allow")

    error: str


def inference_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the errors a route of the protocol may answer with: as a problem where a client accepts that."""
    return {status: {**entry, "model": InferenceError} for status, entry in problems(*statuses).items()}


class InferenceRoute(GuardedRoute):
    """A guarded route of the protocol, whose clients send JSON without a media type."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """The handler; a body without a media type, or announced by its length of JSON, is taken as JSON."""
        handle = super().get_route_handler()

        async def handle_as_json(request: Request) -> Response:
            if JSON_LENGTH in request.headers or not request.headers.get("content-type"):
                kept = [header for header in request.scope["headers"] if header[0].lower() != b"content-type"]
                declared = [*kept, (b"content-type", JSON.encode())]
                request = Request({**request.scope, "headers": declared}, request.receive)
            return await handle(request)

        return handle_as_json

    def parse(self, request: Request, body: bytes) -> JsonValue:
        """The JSON of a body.

        Raises:
            BadJsonError: It is no JSON, or binary tensors follow it.
            MediaTypeError: It is declared as something else.
        """
        if request.headers.get(JSON_LENGTH, str(len(body))) != str(len(body)):
            raise BadJsonError(
                "binary tensors are not read", expected="`data` in the JSON",
                remedy="Python clients: set_data_from_numpy(..., binary_data=False).",
            )  # fmt: skip
        return super().parse(request, body)


class InferenceErrors:
    """Gives every error under `/v2` a member `error`, whichever layer it comes from; a slash at the end is left out.

    The media type is the protocol's, `application/json`; `application/problem+json` for a client that accepts that.

    Args:
        app: The next layer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith("/v2/"):
            await self._app(scope, receive, send)
            return
        scope["path"] = scope["path"].rstrip("/")
        accepted = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept")
        media_type = PROBLEM if PROBLEM.encode() in accepted else JSON
        await self._app(scope, receive, _Rewriting(send, media_type.encode(), is_head=scope["method"] == "HEAD"))


class _Rewriting:
    """Sends a response, and one that is a problem in the protocol's form."""

    def __init__(self, send: Send, media_type: bytes, *, is_head: bool) -> None:
        self._send, self._media_type, self._is_head = send, media_type, is_head
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and (b"content-type", PROBLEM.encode()) in message["headers"]:
            self._start = message
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error(self._start)

    async def _send_error(self, start: Message) -> None:
        body = b"" if self._is_head else in_form(self._body)
        others = [header for header in start["headers"] if header[0] not in (b"content-type", b"content-length")]
        length = [] if self._is_head else [(b"content-length", b"%d" % len(body))]
        await self._send({**start, "headers": [*others, (b"content-type", self._media_type), *length]})
        await self._send({"type": "http.response.body", "body": body})


def in_form(problem: bytes) -> bytes:
    """A problem document with its texts in one line as `error`, at most 800 characters."""
    content = orjson.loads(problem)
    return canonical({**content, "error": _line(content)[:_MOST_TEXT]})


def _line(content: Mapping[str, Any]) -> str:
    listed = [f"{found['where']}: {found['what']}" for found in content.get("errors", ())[:_MOST_ERRORS]]
    n_more = content.get("n_errors", 0) - len(listed)
    texts = [*([content["detail"]] if "detail" in content else []), *listed, *([f"{n_more} more"] if n_more else [])]
    return f"{content['title']}: {'; '.join(texts)}" if texts else str(content["title"])
