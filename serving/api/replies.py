"""Answers of the desk as responses."""

from __future__ import annotations

from fastapi import Request, Response

from serving.api.telemetry import Metrics
from serving.records.answers import Answer


def reply(answer: Answer) -> Response:
    """An answer; one that was stored before says so."""
    headers = {"idempotent-replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, media_type="application/json", headers=headers)


def scored(request: Request, answer: Answer) -> Response:
    """A score, counted where it is new."""
    if not answer.replayed:
        metrics: Metrics = request.app.state.metrics
        metrics.scores.inc()
    return reply(answer)
