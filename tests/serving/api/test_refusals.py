"""Wrong credentials at a rate that people do not have, against a real application with a clock and a sleep of its own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response

from serving.api.refusals import AT_ONCE_PER_S, LATER_PER_S, MOST_WAITING, PAUSE_S, RefusalPacing
from tests.serving.api.conftest import Api
from tests.serving.services import BATCH

GOOD, WRONG = {"authorization": "Bearer bg_mes"}, {"authorization": "Bearer bg_wrong"}


@dataclass
class Paced:
    """The application behind a layer whose time the test makes."""

    app: FastAPI
    now_us: int = 0
    pauses: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        layer = RefusalPacing(self.app, sleep=self.sleep, steady=lambda: self.now_us)
        self.client = AsyncClient(transport=ASGITransport(layer), base_url="http://test")

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.over.wait()

    async def get(self, headers: dict[str, str], path: str = "/v1/batches") -> Response:
        return await self.client.get(path, headers=headers)

    async def refused(self, n: int) -> None:
        """That many refusals, all of which are answered."""
        for _ in range(n):
            assert (await self.get(WRONG)).status_code == 401

    async def held_back(self, n: int) -> list[asyncio.Task[Response]]:
        """That many requests more, once all of them are held back."""
        before = len(self.pauses)
        waiting = [asyncio.create_task(self.get(WRONG)) for _ in range(n)]
        while len(self.pauses) < before + n:
            await asyncio.sleep(0)
        return waiting


@pytest.fixture
def paced(shared_api: Api) -> Callable[[], Paced]:
    return lambda: Paced(shared_api.app)


def test_refusals_are_answered_at_once_up_to_a_rate(paced) -> None:
    async def run() -> None:
        endpoint = paced()
        for _ in range(3):
            await endpoint.refused(AT_ONCE_PER_S)
            endpoint.now_us += 1_000_000
        assert endpoint.pauses == []

    asyncio.run(run())


@pytest.mark.parametrize(
    "header", [WRONG, {}, {"authorization": "Basic bWVzOg=="}, {"authorization": "Bearer e30.e30.x"}]
)
def test_beyond_the_rate_a_refusal_waits_a_second_and_a_good_key_never_does(paced, header) -> None:
    async def run() -> None:
        endpoint = paced()
        await endpoint.refused(AT_ONCE_PER_S)
        waiting = asyncio.create_task(endpoint.get(header))
        while not endpoint.pauses:
            await asyncio.sleep(0)
        assert endpoint.pauses == [PAUSE_S]
        assert (await endpoint.get(GOOD)).status_code == 200
        assert (await endpoint.get({}, "/health/live")).status_code == 200
        assert (await endpoint.get({"authorization": "Bearer bg_viewer"}, "/metrics")).status_code == 200
        assert not waiting.done()
        endpoint.over.set()
        answer = await waiting
        assert (answer.status_code, answer.headers["www-authenticate"], len(endpoint.pauses)) == (401, "Bearer", 1)

    asyncio.run(run())


def test_refusals_that_came_together_do_not_come_together_again_but_at_a_rate(paced) -> None:
    async def run() -> None:
        endpoint = paced()
        await endpoint.refused(AT_ONCE_PER_S)
        waiting = await endpoint.held_back(LATER_PER_S + 1)
        assert endpoint.pauses == sorted(set(endpoint.pauses))
        assert (endpoint.pauses[0], endpoint.pauses[-1]) == (PAUSE_S, PAUSE_S + 1)
        endpoint.over.set()
        await asyncio.gather(*waiting)

    asyncio.run(run())


def test_when_too_many_wait_the_others_are_refused_at_once_and_disconnected(paced) -> None:
    async def run() -> None:
        endpoint = paced()
        await endpoint.refused(AT_ONCE_PER_S)
        waiting = await endpoint.held_back(MOST_WAITING)
        beyond = await endpoint.get(WRONG)
        assert (beyond.status_code, beyond.headers["connection"]) == (401, "close")
        assert (await endpoint.get(GOOD)).status_code == 200
        endpoint.over.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {401}
        endpoint.over.clear()
        endpoint.pauses.clear()
        again = await endpoint.held_back(1)  # there is room again
        endpoint.over.set()
        assert "connection" not in (await again[0]).headers

    asyncio.run(run())


def test_a_refusal_that_waits_does_not_keep_the_body_of_its_request(paced) -> None:
    async def run() -> None:
        endpoint, finished = paced(), []

        async def app(*arguments) -> None:
            await endpoint.app(*arguments)
            finished.append(arguments)

        layer = RefusalPacing(app, sleep=endpoint.sleep, steady=lambda: 0)
        async with AsyncClient(transport=ASGITransport(layer), base_url="http://test") as client:
            for _ in range(AT_ONCE_PER_S):
                await client.put("/v1/batches/B1", headers=WRONG, content=b"x" * 100_000)
            waiting = asyncio.create_task(client.put("/v1/batches/B1", headers=WRONG, content=b"x" * 100_000))
            while not endpoint.pauses:
                await asyncio.sleep(0)
            assert len(finished) == AT_ONCE_PER_S + 1  # every layer that read the body has returned
            endpoint.over.set()
            assert (await waiting).status_code == 401

    asyncio.run(run())


def test_a_refused_signature_is_not_held_back(paced) -> None:
    async def run() -> None:
        endpoint = paced()
        await endpoint.refused(AT_ONCE_PER_S)
        await endpoint.client.put("/v1/batches/B1", headers=GOOD, json=BATCH)
        score = (await endpoint.client.post("/v1/batches/B1/scores", headers=GOOD)).json()["score_id"]
        review = {"decision": "agree", "reason": "seen", "meaning": "review"}
        signed = await endpoint.client.post(
            f"/v1/scores/{score}/reviews", headers={"authorization": "Bearer bg_reviewer"}, json=review
        )
        assert (signed.status_code, endpoint.pauses) == (401, [])

    asyncio.run(run())
