"""Logs and metrics: which request, by whom, how long, how it ended. No payloads, no subject keys, no secrets."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import TextIO, cast

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import BatchguardError
from serving.api.problems import of_error, problem
from serving.ids import new_id, now_us

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = structlog.get_logger("batchguard.api")


class Metrics:
    """What Prometheus reads, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "batchguard_requests",
            "Requests by route and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "batchguard_request_seconds", "Time from the first byte to the last.", ["route"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.rows = Counter("batchguard_rows", "Rows by what became of them.", ["verdict"], registry=self.registry)
        self.scores = Counter("batchguard_scores", "Scores made and kept.", registry=self.registry)
        self.stale = Gauge(
            "batchguard_model_stale_seconds", "Age of the last known good model.", registry=self.registry
        )


class Telemetry:
    """Outermost layer: names the request, measures it, and lets no error out unanswered."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, request_id, status = time.perf_counter(), new_id(now_us()), 0
        scope.setdefault("state", {})["request_id"] = request_id

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode()), *_SAFE]
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception as error:  # the last handler there is
            answer = _last(error, request_id)
            if not status:
                await answer(scope, receive, told)
        finally:
            self._note(scope, status, time.perf_counter() - begin, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = (
            scope["method"] if scope["method"] in _METHODS else "other"
        )  # a series for each word would fill the memory
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        principal = scope["state"].get("principal")
        _log.info("request", request_id=request_id, route=route, method=method, status=status,
                  ms=round(1000 * seconds, 2), principal=principal.id if principal else None,
                  client_request_id=_client_id(scope))  # fmt: skip


_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "TRACE", "CONNECT"})
_SAFE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


def _client_id(scope: Scope) -> str | None:
    """The id a client gave its request, where it is plain."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"x-request-id"), b"").decode("latin-1")
    return given if 0 < len(given) <= 100 and given.replace("-", "").replace("_", "").isalnum() else None


def _last(error: Exception, request_id: str) -> Response:
    if isinstance(error, BatchguardError):
        return of_error(error, request_id)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
    _log.error("error", request_id=request_id, kind=type(error).__name__, where=where)
    return problem(500, "An error of the endpoint", "Report it with the request id.", request_id=request_id)


class Lenient:
    """A stream that loses lines instead of failing: where the log goes to may be full or gone, and the request went well."""

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
    """One JSON object a line on standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Lenient(sys.stderr))),
        cache_logger_on_first_use=True,
    )
