from pathlib import Path

import pytest

from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.replay import Replayed, replay
from tests.models.backtest.lived import POLICY, lived


@pytest.fixture(scope="session")
def history() -> History:
    return lived()


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all replays of the plant keep their models: each is made once in a run of the tests."""
    return tmp_path_factory.mktemp("fits")


@pytest.fixture(scope="session")
def replayed(history: History, kept: Path) -> Replayed:
    return replay(history, POLICY, Fits(kept, POLICY))
