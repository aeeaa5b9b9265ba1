"""Golden limits taken together: the same tail probabilities as equal-share limits, added over the worst parameters.

A fault that moves several parameters a little breaks no single limit. The score is the sum of the largest -log tail
probabilities (Fisher's combination, of the worst few), how many is chosen on forward folds inside the training part.
Not something plants use today; it shows how far limits go without learning from a single failure.
"""

from __future__ import annotations

import pandas as pd

from benchmarks.baselines.golden_limits import AT_ONCE, most_surprising, search, signals_for, surprises
from pipelines.plant import Plant


def scores(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Hourly scores of test batches: `batch_id, checkpoint_h, score`."""
    choice, at_once = search(plant, train, at_once=AT_ONCE[1:])
    data = signals_for(plant, choice.parameters)
    of_parameters = surprises(data, data.rows(train.index[~train]), data.rows(test), choice)
    return data.frame(data.rows(test), most_surprising(of_parameters, at_once))
