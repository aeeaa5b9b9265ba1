"""ASGI layers around the application: telemetry and the last error handler, HEAD requests, limits of a body.

Logs and metrics hold no payloads, no subject keys, no secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from typing import TextIO, cast

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import BatchguardError
from serving.access.principals import ALL_SITES, Principal
from serving.api.problems import of_error, problem
from serving.ids import new_id, now_us

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "TRACE", "CONNECT"})
_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_SAFE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = structlog.get_logger("batchguard.api")


class Metrics:
    """The metrics for Prometheus, in a registry of their own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.requests = Counter("batchguard_requests", "Requests by route and status.", labels, registry=own)
        self.seconds = Histogram(
            "batchguard_request_seconds", "Time from the first byte to the last.", ["route"], buckets=_SECONDS, registry=own
        )  # fmt: skip
        self.rows = Counter("batchguard_rows", "Rows by what became of them.", ["verdict"], registry=own)
        self.scores = Counter("batchguard_scores", "Scores made and kept.", registry=own)
        self.stale = Gauge("batchguard_model_stale_seconds", "Age of the last known good model.", registry=own)
        self._by_sites: dict[frozenset[str], Metrics] = {}

    def of(self, principal: Principal) -> Metrics:
        """What a principal may see: everything, or what principals of the same sites did."""
        if ALL_SITES in principal.sites:
            return self
        return self._by_sites.setdefault(principal.sites, Metrics())

    def count_score(self, principal: Principal) -> None:
        """Count a score that was made for a principal."""
        for metrics in self._scopes(principal):
            metrics.scores.inc()

    def count_rows(self, principal: Principal, counts: Mapping[str, int]) -> None:
        """Count rows that a principal sent, by their verdicts."""
        for metrics in self._scopes(principal):
            for verdict in ("accepted", "duplicates", "rejected"):
                metrics.rows.labels(verdict).inc(counts[verdict])

    def count_request(self, principal: Principal | None, route: str, method: str, status: int, seconds: float) -> None:
        """Count and time a request; None: of nobody."""
        for metrics in self._scopes(principal):
            metrics.requests.labels(route, method, str(status)).inc()
            metrics.seconds.labels(route).observe(seconds)

    def _scopes(self, principal: Principal | None) -> tuple[Metrics, ...]:
        own = self if principal is None else self.of(principal)
        return (self,) if own is self else (self, own)


class Telemetry:
    """Outermost layer: gives the request an id, measures it, and answers every error.

    Args:
        app: The next layer.
        metrics: Counts and times requests.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, request_id, status = time.perf_counter(), new_id(now_us()), 0
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode()), *_SAFE]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - every error becomes an answer, and its kind is logged
            answer = _error_response(error, request_id)
            if not status:
                await answer(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - begin, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"  # any word would be a series of its own
        principal = scope["state"].get("principal")
        self._metrics.count_request(principal, route, method, status, seconds)
        _log.info("request", request_id=request_id, route=route, method=method, status=status,
                  ms=round(1000 * seconds, 2), principal=principal.id if principal else None,
                  client_request_id=_client_request_id(scope))  # fmt: skip


def _client_request_id(scope: Scope) -> str | None:
    """The id that a client gave its request, if it is plain."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"x-request-id"), b"").decode("latin-1")
    return given if 0 < len(given) <= 100 and given.replace("-", "").replace("_", "").isalnum() else None


def _error_response(error: Exception, request_id: str) -> Response:
    if isinstance(error, BatchguardError):
        return of_error(error, request_id)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
    _log.error("error", request_id=request_id, kind=type(error).__name__, where=where)
    return problem(500, "An error of the endpoint", "Report it with the request id.", request_id=request_id)


class LossyStream:
    """A stream that drops what it cannot write: a full disk under the log fails no request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write if that is possible."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def _json(line: dict[str, object], **_: object) -> str:
    return orjson.dumps(line, default=str).decode()


def log_json(level: int = logging.INFO) -> None:
    """Log one JSON object a line to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", LossyStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )


class HeadRequests:
    """Answers a HEAD as the GET of the same address, without its content (RFC 9110, 9.3.2): load balancers send it.

    Args:
        app: The next layer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_content(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, send_without_content)
        finally:
            scope["method"] = "HEAD"


class Limits:
    """Reads the body of every request before the next layer does: bounded in size and time, never compressed.

    Args:
        app: The next layer; it gets the whole body in one message.
        max_bytes: Larger bodies are answered with 413.
        timeout_s: Bodies that take longer are answered with 408.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal, body = await self._read(scope, receive)
        if refusal is not None:
            request_id = scope["state"]["request_id"]
            answer = problem(*refusal, request_id=request_id, headers={"connection": "close"})
            await answer(scope, receive, send)
            return
        await self._app(scope, replayed(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> tuple[tuple[int, str, str] | None, bytes]:
        """Status, title and detail of a refusal, or None, and the body."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return (415, "Compressed bodies are not accepted", "send the body as it is"), b""
        too_large = (413, "The body is too large", f"expected at most {self._max_bytes} bytes")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._max_bytes:
            return too_large, b""
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._body(receive)
        except ConnectionError:
            return (400, "The body was cut off", "nothing of it was read"), b""
        except TimeoutError:
            return (408, "The body took too long", f"expected it within {self._timeout_s:g} s"), b""
        if body is None:
            return too_large, b""
        if body and scope["method"] in _NO_BODY:
            return (400, "A body where none is wanted", f"{scope['method']} has none"), b""
        return None, body

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None if it is too large."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client disconnected")
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Yields a body that was read already, then whatever follows."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
