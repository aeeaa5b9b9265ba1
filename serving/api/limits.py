"""Bounds of a request as pure ASGI: size, time to arrive, no compressed bodies. Nothing is read that is not wanted."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.problems import problem

_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class Limits:
    """Reads the body of every request before anything else sees it, within bounds.

    Args:
        app: What follows.
        max_bytes: Larger bodies are answered with 413.
        timeout_s: Bodies that take longer are answered with 408.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bound one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal, body = await self._read(scope, receive)
        if refusal is not None:
            status, title, detail = refusal
            answer = problem(
                status, title, detail, request_id=scope["state"]["request_id"], headers={"connection": "close"}
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, replayed(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> tuple[tuple[int, str, str] | None, bytes]:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return (415, "Compressed bodies are not accepted", "send the body as it is"), b""
        cut_off = (400, "The body was cut off", "nothing of it was read")
        too_large = (413, "The body is too large", f"expected at most {self._max_bytes} bytes")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._max_bytes:
            return too_large, b""
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._body(receive)
        except ConnectionError:
            return cut_off, b""
        except TimeoutError:
            return (408, "The body took too long", f"expected it within {self._timeout_s:g} s"), b""
        if body is None:
            return too_large, b""
        if body and scope["method"] in _NO_BODY:
            return (400, "A body where none is wanted", f"{scope['method']} has none"), b""
        return None, body

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, None where it is too large."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            first: dict[str, Any] = {"type": "http.request", "body": body, "more_body": False}
            return first
        return await receive()

    return again
