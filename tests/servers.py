"""Servers that tests start as processes of their own, on loopback."""

import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(address: str, process: subprocess.Popen, within_s: float = 120.0) -> None:
    """Wait until a server answers at all."""
    for _ in range(int(within_s / 0.2)):
        assert process.poll() is None, f"the server ended with code {process.returncode}"
        try:
            urllib.request.urlopen(address, timeout=2)  # noqa: S310 - loopback
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"{address} does not answer")
