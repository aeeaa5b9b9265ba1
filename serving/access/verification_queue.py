"""Where credentials wait that are not verified at once: on the event loop, in no thread of those that serve others."""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, to_thread

from serving.access.key_ring import KeysBusyError
from serving.access.principals import Principal

THREADS = 2  # half the places of `VerificationLane`: the others are for signatures
MOST_WAITING = 256  # secrets of one key, at a tenth of a second each, are verified within half a minute
_SHOWN = 15  # characters: a key without its secret


class Verifier(Protocol):
    """Verifies one kind of credential: API keys or tokens."""

    def is_cached(self, credential: str, /) -> bool:
        """Whether `principal` returns without a slow hash, the database or the network."""
        ...

    def principal(self, credential: str, /) -> Principal:
        """The principal of a credential.

        Raises:
            UnauthenticatedError: The credential is not valid.
        """
        ...


class VerificationQueue:
    """Verifies in few threads of its own: of one key one secret after the other, in the order in which they came.

    If all keys had one order, those who guess at one would hold up the first use of the others; without an order, whoever
    repeats fastest would get every place.

    Args:
        threads: How many credentials are verified at once.
        most_waiting: How many may be verified or wait for that.
    """

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._threads, self._most_waiting, self._waiting = CapacityLimiter(threads), most_waiting, 0
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # a lock wakes in order of arrival

    async def principal(self, verifier: Verifier, credential: str) -> Principal:
        """The principal of a credential, once its turn has come.

        Raises:
            UnauthenticatedError: The credential is not valid.
            KeysBusyError: Too many wait; this one was not verified.
        """
        if self._waiting >= self._most_waiting:
            raise KeysBusyError("too many keys are being verified", remedy="Try again in a second.")
        self._waiting += 1
        try:
            async with self._turns.setdefault(credential[:_SHOWN], asyncio.Lock()):
                if verifier.is_cached(credential):  # a request before it has verified the key or read the list
                    return verifier.principal(credential)
                return await to_thread.run_sync(verifier.principal, credential, limiter=self._threads)
        finally:
            self._waiting -= 1
