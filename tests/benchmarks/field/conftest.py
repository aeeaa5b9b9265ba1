"""Third-party data beside the checkout, where it is there; never part of the repository."""

from pathlib import Path

import pytest

from benchmarks.field.dated import data_folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set BATCHGUARD_REAL_DATA")
    return folder
