from pathlib import Path

import pytest

from serving.api.middleware import LossyStream


def test_a_log_that_cannot_be_written_fails_no_request() -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - to close it fails, too
    lenient = LossyStream(full)
    for _ in range(3):
        lenient.write("a line\n")
        lenient.flush()
    with pytest.raises(OSError, match="No space left"):
        full.flush()
    with pytest.raises(OSError, match="No space left"):
        full.close()
