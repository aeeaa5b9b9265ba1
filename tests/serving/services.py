"""Desks and principals for tests."""

from pathlib import Path

from serving.access.principals import Principal
from serving.access.signing import Signature
from serving.audit.anchor import Anchor
from serving.ids import microseconds
from serving.records.answers import Call
from serving.records.store import Records
from serving.service.engine_cache import EngineCache
from serving.service.scoring_service import ScoringService
from tests.serving.counting_engine import make_counting_engine

NOON = microseconds("2026-03-02T12:00:00Z")
MES = Principal("key:mes", "MES", "service", "mes", frozenset({"*"}))
NORTH = Principal("key:north", "MES of the north", "service", "mes", frozenset({"north"}))
SOUTH = Principal("key:south", "MES of the south", "service", "mes", frozenset({"south"}))
REVIEWER = Principal("user:anna", "Anna", "person", "reviewer", frozenset({"north"}), NOON)
BATCH = {"site_id": "north", "started_at": "2026-03-01T00:00:00Z", "origin": "real"}


def make_service(
    records: Records, tmp_path: Path, *, make=make_counting_engine, now_us: int = NOON, **more
) -> ScoringService:
    return ScoringService(
        records, make, EngineCache(records, make), Anchor(tmp_path / "anchor"), clock=lambda: now_us, **more
    )


def call(principal: Principal = MES, key: str | None = None, body: str = "", request_id: str = "r1") -> Call:
    return Call(principal, request_id, key, f"{body:0>64}")


def signed() -> Signature:
    return Signature("Anna", "review", "id and key")


def reading(hour: int, value: float, **more) -> dict:
    return {
        "parameter": "force_kn",
        "observed_at": f"2026-03-01T{hour:02d}:00:00Z",
        "value": value,
        "unit": "kN",
    } | more
