"""A client that costs little: prepared requests over kept connections, as many at once as asked for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of one request."""
    lines = {"host": "127.0.0.1", "content-length": str(len(body))} | (headers or {})
    if body:
        lines.setdefault("content-type", "application/json")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass(frozen=True)
class Load:
    """What a load measured.

    Attributes:
        ms: Time of each answer.
        seconds: Of the whole.
        statuses: Number of answers by status.
    """

    ms: np.ndarray
    seconds: float
    statuses: dict[int, int]

    def quantile(self, share: float) -> float:
        """Milliseconds that a share of the answers stayed within."""
        return float(np.quantile(self.ms, share))

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.ms) / self.seconds


def load(port: int, make: Callable[[int], bytes], n: int, *, clients: int = 1, warm_up: int = 20) -> Load:
    """Send `n` requests by some clients, each over one kept connection, after some that do not count."""
    asyncio.run(_load(port, make, warm_up, clients))
    return asyncio.run(_load(port, make, n, clients))


async def _load(port: int, make: Callable[[int], bytes], n: int, clients: int) -> Load:
    numbers, times, statuses = iter(range(n)), [], {}

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in numbers:
            sent = make(i)
            begin = time.perf_counter()
            writer.write(sent)
            status, _ = await answer(reader)
            times.append(time.perf_counter() - begin)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(1e3 * np.array(times), time.perf_counter() - begin, statuses)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


def ask(port: int, sent: bytes) -> tuple[int, dict]:
    """One request on a connection of its own."""

    async def one() -> tuple[int, dict]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        status, body = await answer(reader)
        writer.close()
        return status, json.loads(body)

    return asyncio.run(one())
