from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from serving.access.principals import Principal, UnauthenticatedError
from serving.api.app import make_app
from serving.records.store import Records
from serving.service.scoring_service import ScoringService
from serving.settings import EndpointSettings
from tests.serving.conftest import sqlite_url
from tests.serving.services import MES, NORTH, REVIEWER, SOUTH, make_service

ADMIN = Principal("user:root", "Root", "person", "admin", frozenset({"*"}))
APPROVER = Principal("user:qa", "QA", "person", "approver", frozenset({"*"}))
VIEWER = Principal("key:view", "Board", "service", "viewer", frozenset({"north"}))
MONITOR = Principal("key:monitor", "Monitor", "service", "viewer", frozenset({"*"}))
PRINCIPALS = {"monitor": MONITOR, "mes": MES, "north": NORTH, "south": SOUTH, "reviewer": REVIEWER, "viewer": VIEWER, "admin": ADMIN,
              "approver": APPROVER}  # fmt: skip


class Names:
    """Takes `bg_NAME` for the principal of that name."""

    def is_cached(self, _: str) -> bool:
        return True

    def principal(self, credential: str) -> Principal:
        found = PRINCIPALS.get(credential.removeprefix("bg_"))
        if found is None:
            raise UnauthenticatedError("the key is not known")
        return found


@dataclass(frozen=True)
class Api:
    app: FastAPI
    service: ScoringService
    client: TestClient

    def __call__(self, method: str, path: str, *, who: str = "mes", headers: dict | None = None, **more) -> Response:
        return self.client.request(
            method, path, headers={"authorization": f"Bearer bg_{who}"} | (headers or {}), **more
        )


async def no_pause(_: float) -> None:
    """Refusals are not held back: a module's tests are refused more often in a second than people are."""


def make_api(records: Records, folder: Path) -> Api:
    service = make_service(records, folder)
    settings = EndpointSettings(records_url="sqlite:///unused", anchor=folder / "anchor", max_body_bytes=200_000)
    app = make_app(service, {"key": Names()}, settings, sleep=no_pause)
    return Api(app, service, TestClient(app, raise_server_exceptions=False))


@pytest.fixture
def api(records: Records, tmp_path: Path) -> Iterator[Api]:
    yield make_api(records, tmp_path)


@pytest.fixture(scope="module")
def shared_api(sqlite_shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for the tests of a module that do not care what the others left in it."""
    folder = tmp_path_factory.mktemp("api")
    records = Records(sqlite_url(sqlite_shape, folder))
    yield make_api(records, folder)
    records.close()
