"""Slows down whoever keeps presenting wrong credentials, so that refusing them leaves time for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.ids import steady_us

AT_ONCE_PER_S = 20  # refusals a second that are sent at once: people who mistype, clients that were just set up
PAUSE_S = 1.0
LATER_PER_S = 256  # refusals a second of those that are held back
MOST_WAITING = 1024  # refusals held back at a time, for five seconds at most; some ten kilobytes each
Sleep = Callable[[float], Awaitable[object]]


class RefusalPacing:
    """Holds a 401 back for some seconds once there are many; when too many wait, it ends the connection instead.

    It counts for the process and not by address: behind a proxy all clients have one, and the header with another one can
    be made up. Nobody with a good key pays for that, as only refusals wait. It is the outermost layer, so that a refusal
    that waits holds neither a thread nor the body of its request. A refused signature is not held back: who signs is known.

    Args:
        app: The next layer.
        sleep: Waits for some seconds.
        steady: Microseconds since an arbitrary moment.
    """

    def __init__(self, app: ASGIApp, *, sleep: Sleep = asyncio.sleep, steady: Callable[[], int] = steady_us) -> None:
        self._app, self._sleep, self._steady = app, sleep, steady
        self._at_once, self._counted_us = float(AT_ONCE_PER_S), steady()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        refusal: list[Message] = []

        async def send_unless_refused(message: Message) -> None:
            is_refusal = message.get("status") == 401 and "principal" not in scope.get("state", {})
            if refusal or is_refusal:
                refusal.append(message)
            else:
                await send(message)

        await self._app(scope, receive, send_unless_refused)
        if refusal:
            await self._send(refusal, send)

    async def _send(self, refusal: list[Message], send: Send) -> None:
        if not self._may_send_at_once():
            if self._waiting < MOST_WAITING:
                await self._pause()
            else:
                refusal[0]["headers"] = [*refusal[0]["headers"], (b"connection", b"close")]
        for message in refusal:
            await send(message)

    async def _pause(self) -> None:
        # The more wait, the longer: otherwise more connections would mean more requests, and refusals that came together
        # would come together again, every second.
        seconds = PAUSE_S + self._waiting / LATER_PER_S
        self._waiting += 1
        try:
            await self._sleep(seconds)
        finally:
            self._waiting -= 1

    def _may_send_at_once(self) -> bool:
        now = self._steady()
        earned = (now - self._counted_us) * AT_ONCE_PER_S / 1e6
        self._at_once, self._counted_us = min(AT_ONCE_PER_S, self._at_once + earned), now
        if self._at_once < 1:
            return False
        self._at_once -= 1
        return True
