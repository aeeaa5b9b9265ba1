"""`python -m benchmarks.serving.wrong_keys_attack PORT CONNECTIONS LOOKUP...`: an attacker in a process of its own.

Each connection goes on presenting wrong secrets for one of the lookups. A line says that all of them have begun; when the
standard input ends, the last line gives as JSON the number of answers by status, and of connections that were dropped.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

from benchmarks.serving.http import request

NETWORK_S = 0.05  # a connection of an attacker from another machine waits for the network, too
DROPPED, ENDED = "dropped", "ended by the endpoint"


async def _present(port: int, number: int, lookup: str, found: Counter[str]) -> None:
    sent = 0
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            is_kept = True
            while is_kept:
                sent += 1
                key = f"bg_{lookup}_{number:06d}{sent:037d}"
                writer.write(request("GET", "/v1/batches", headers={"authorization": f"Bearer {key}"}))
                status, is_kept = await _answer(reader)
                found[str(status)] += 1
                await asyncio.sleep(NETWORK_S)
            found[ENDED] += 1
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            found[DROPPED] += 1
            await asyncio.sleep(NETWORK_S)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of one answer, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    return int(head[9:12]), b"connection: close" not in head


async def _attack(port: int, connections: int, lookups: list[str]) -> Counter[str]:
    found = Counter({DROPPED: 0, ENDED: 0})
    tasks = [asyncio.create_task(_present(port, i, lookups[i % len(lookups)], found)) for i in range(connections)]
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_attack(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))))
