"""Third-party data beside the checkout, where it is there; never part of the repository."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("BATCHGUARD_REAL_DATA", BESIDE))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set BATCHGUARD_REAL_DATA")
    return folder
