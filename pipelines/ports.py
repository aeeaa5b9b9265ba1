"""Whether TCP ports are free, found out before anything is started: `python -m pipelines.ports NAME=PORT ...`."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Mapping

from features.errors import BatchguardError

LOOPBACK = "127.0.0.1"


def check_free(ports: Mapping[str, int], host: str = LOOPBACK) -> None:
    """Listen on every port for a moment.

    Args:
        ports: By the option that names them, for example `--port`.
        host: Address to listen on.

    Raises:
        BatchguardError: Another program listens on one of them, two of them are the same, or nobody may listen there.
    """
    for option, port in ports.items():
        same = [other for other, number in ports.items() if number == port]
        if len(same) > 1:
            raise BatchguardError(f"{' and '.join(same)} are both {port}", expected="a port of its own for each")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            raise _refusal(error, option, port, host) from None


def _refusal(error: OSError, option: str, port: int, host: str) -> BatchguardError:
    if error.errno == errno.EADDRINUSE:
        return BatchguardError(
            f"port {port} is taken: another program listens on {host}:{port}",
            remedy=f"Stop it, or give another port with {option}. Nothing was started.",
        )
    return BatchguardError(
        f"nothing can listen on {host}:{port}: {error.strerror}",
        remedy=f"Give another address or another port with {option}. Nothing was started.",
    )


if __name__ == "__main__":
    try:
        check_free({name: int(port) for name, _, port in (given.partition("=") for given in sys.argv[1:])})
    except BatchguardError as found:
        sys.exit(f"batchguard: {found}")
