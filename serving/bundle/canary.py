"""The canary: before a predictor serves, a child process loads it and scores a few synthetic rows.

LightGBM aborts or never ends on some damaged model files; then only the child dies. The expected scores were recorded when
the bundle was exported, so that a library version that computes otherwise is noticed, too. The child also compares the
forest, which scores without LightGBM, with LightGBM itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from serving.bundle.bundle import CANARY, PREDICTOR, Bundle
from serving.bundle.manifest import BundleError

if TYPE_CHECKING:
    import pandas as pd
    from pandas._typing import ArrayLike

    from models.predictor import Predictor

TIMEOUT_S = 60.0
_ROWS = 8


def canary_of(predictor: Predictor) -> bytes:
    """The probabilities of the synthetic rows, as JSON."""
    return orjson.dumps({"probabilities": [float(p) for p in predictor.predict(_synthetic_rows(predictor))]})


def run_canary(bundle: Bundle, *, timeout_s: float = TIMEOUT_S) -> None:
    """Load and score in a child process.

    Raises:
        BundleError: The child died, took too long, or computed something else.
    """
    with tempfile.TemporaryDirectory() as name:
        bundle.write_predictor(Path(name))
        command = [sys.executable, "-P", "-m", "serving.bundle.canary", name, bundle.manifest.model_sha256]
        root = Path(__file__).parents[2]
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        try:
            ran = subprocess.run(
                command, capture_output=True, timeout=timeout_s, check=False, cwd=root, env=environment, text=True
            )
        except subprocess.TimeoutExpired:
            raise BundleError(f"the canary of {bundle.sha256[:12]} took longer than {timeout_s:g} s") from None
    if ran.returncode != 0:
        last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1][:300]
        raise BundleError(f"the canary of {bundle.sha256[:12]} failed: {last}", remedy="Keep the former release.")


def _synthetic_rows(predictor: Predictor) -> pd.DataFrame:
    """Rows that reach many leaves: all missing, then random numbers of growing size, the same every time."""
    import numpy as np
    import pandas as pd

    encoder, rng = predictor.encoder, np.random.default_rng(20261124)
    scale = np.geomspace(0.01, 1000, _ROWS - 1)[:, None]
    numbers = np.vstack(
        [np.full(len(encoder.columns), np.nan), rng.normal(size=(_ROWS - 1, len(encoder.columns))) * scale]
    )
    columns: dict[str, ArrayLike] = {name: numbers[:, place] for place, name in enumerate(encoder.columns)}
    for name, known in encoder.categories.items():
        columns[name] = pd.array([None, *(known[i % len(known)] for i in range(_ROWS - 1))], dtype="str")
    start = pd.Timestamp("2026-01-01T00:00Z").as_unit("us")
    head = {"batch_id": pd.array(["canary"] * _ROWS, dtype="str"), "checkpoint_h": 12.0, "started_at": start,
            "as_of": start + pd.Timedelta(hours=12)}  # fmt: skip
    return pd.DataFrame({**head, **columns})


def main(folder: Path, sha256: str) -> int:
    """Run the child process; 0 if every score equals the recorded one."""
    from models.predictor import Predictor

    predictor = Predictor.load(folder / PREDICTOR, sha256=sha256)
    expected = orjson.loads((folder / CANARY).read_bytes())["probabilities"]
    found = [float(p) for p in predictor.predict(_synthetic_rows(predictor))]
    if found != expected:
        sys.stderr.write(f"scores {found} instead of {expected}\n")
        return 1
    if not _equals_lightgbm(predictor):
        sys.stderr.write("the forest scores otherwise than LightGBM\n")
        return 1
    return 0


def _equals_lightgbm(predictor: Predictor) -> bool:
    """Whether the log-odds of the forest equal LightGBM's to the bit, and the contributions up to rounding."""
    import lightgbm as lgb
    import numpy as np

    rng = np.random.default_rng(20261124)
    inputs = rng.normal(size=(_ROWS, len(predictor.inputs))) * np.geomspace(0.01, 1000, _ROWS)[:, None]
    inputs[rng.random(inputs.shape) < 0.2] = np.nan
    forests = predictor.forests
    texts = iter(predictor.model_texts)
    for hours, forest in zip(forests.from_h, forests.of_stage, strict=True):
        boosters = [lgb.Booster(model_str=next(texts)) for _ in forest.base]
        raw = np.array([booster.predict(inputs, raw_score=True, num_threads=1) for booster in boosters]).T
        shap = np.mean([booster.predict(inputs, pred_contrib=True, num_threads=1) for booster in boosters], axis=0)
        at = np.full(len(inputs), hours)
        same = (forests.log_odds(inputs, at) == raw).all()
        if not same or not np.allclose(forests.contributions(inputs, at), shap[:, :-1], rtol=0, atol=1e-9):
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
