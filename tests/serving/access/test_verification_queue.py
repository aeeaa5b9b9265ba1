"""Who waits for whom when keys are presented for the first time: real threads, held up by the test."""

import asyncio
import threading
from collections.abc import Callable, Coroutine

import anyio.to_thread
import pytest

from serving.access.key_ring import KeysBusyError
from serving.access.principals import Principal, UnauthenticatedError
from serving.access.verification_queue import VerificationQueue

MES = Principal("key:mes", "MES", "service", "mes", frozenset({"*"}))
ONE, OTHER = f"bg_{'1' * 12}_", f"bg_{'2' * 12}_"


class Gates:
    """Verifies a secret once the test has opened its gate, or remembers it; secrets that begin with `wrong` are wrong."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cached: set[str] = set()
        self._gates: dict[str, threading.Event] = {}

    def gate(self, key: str) -> threading.Event:
        return self._gates.setdefault(key, threading.Event())

    def is_cached(self, key: str) -> bool:
        return key in self.cached

    def principal(self, key: str) -> Principal:
        if key not in self.cached:
            self.begun.append(key)
            assert self.gate(key).wait(20)
        if key[16:].startswith("wrong"):
            raise UnauthenticatedError("the key is not known")
        return MES


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0)


def run(scenario: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_secrets_of_one_key_take_turns_in_the_order_in_which_they_came() -> None:
    async def scenario() -> None:
        gates, queue = Gates(), VerificationQueue(threads=2)
        keys = [f"{ONE}wrong{i}" for i in range(5)] + [f"{ONE}right", f"{ONE}wrong9"]
        asked = [asyncio.create_task(queue.principal(gates, key)) for key in keys]
        for n, key in enumerate(keys):
            await until(lambda n=n: len(gates.begun) == n + 1)
            gates.gate(key).set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert gates.begun == keys
        assert [isinstance(answer, Principal) for answer in answers] == [key.endswith("right") for key in keys]

    run(scenario)


def test_those_who_guess_at_one_key_do_not_hold_up_another() -> None:
    async def scenario() -> None:
        gates, queue = Gates(), VerificationQueue(threads=2)
        guesses = [asyncio.create_task(queue.principal(gates, f"{ONE}wrong{i}")) for i in range(50)]
        await until(lambda: len(gates.begun) == 1)
        gates.gate(f"{OTHER}right").set()
        assert await queue.principal(gates, f"{OTHER}right") == MES
        assert gates.begun == [f"{ONE}wrong0", f"{OTHER}right"]
        for i in range(50):
            gates.gate(f"{ONE}wrong{i}").set()
        await asyncio.gather(*guesses, return_exceptions=True)

    run(scenario)


def test_what_was_verified_meanwhile_takes_no_thread() -> None:
    async def scenario() -> None:
        gates, queue = Gates(), VerificationQueue(threads=1)
        asked = [asyncio.create_task(queue.principal(gates, f"{ONE}right")) for _ in range(20)]
        await until(lambda: len(gates.begun) == 1)
        gates.cached.add(f"{ONE}right")
        gates.gate(f"{ONE}right").set()
        assert await asyncio.gather(*asked) == [MES] * 20
        assert gates.begun == [f"{ONE}right"]

    run(scenario)


def test_beyond_a_number_nobody_waits_and_nobody_is_said_to_be_wrong() -> None:
    async def scenario() -> None:
        gates, queue = Gates(), VerificationQueue(threads=1, most_waiting=3)
        asked = [asyncio.create_task(queue.principal(gates, f"{ONE}wrong{i}")) for i in range(3)]
        await until(lambda: len(gates.begun) == 1)
        with pytest.raises(KeysBusyError, match="Try again in a second"):
            await queue.principal(gates, f"{OTHER}right")
        for i in range(3):
            gates.gate(f"{ONE}wrong{i}").set()
        await asyncio.gather(*asked, return_exceptions=True)
        gates.gate(f"{OTHER}right").set()
        assert await queue.principal(gates, f"{OTHER}right") == MES  # there is room again

    run(scenario)


def test_keys_that_are_verified_take_no_thread_of_those_that_serve_others() -> None:
    async def scenario() -> None:
        gates, queue = Gates(), VerificationQueue(threads=2)
        keys = [f"bg_{i:012d}_wrong" for i in range(60)]
        asked = [asyncio.create_task(queue.principal(gates, key)) for key in keys]
        await until(lambda: len(gates.begun) == 2)
        pool = anyio.to_thread.current_default_thread_limiter()
        assert pool.borrowed_tokens == 0
        for key in keys:
            gates.gate(key).set()
        await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(gates.begun) == keys

    run(scenario)
