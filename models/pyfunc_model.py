"""The registered model, as code that MLflow stores beside the files of the predictor and runs to load it.

There is no pickle: MLflow keeps this file and the folder of `models.scoring.registered`. The package must be installed
where it runs, which the requirements of the model say.
"""

from pathlib import Path

import mlflow
import pandas as pd

from models.scoring.registered import load_scorer, score_table

SCORER = "scorer"  # name of the folder among the model's artifacts


class BatchRisk(mlflow.pyfunc.PythonModel):
    """Snapshots in; calibrated probability, 90 % interval, call, support and decision out."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Read the predictor, each byte checked against its manifest."""
        self.scorer = load_scorer(Path(context.artifacts[SCORER]))

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:  # ty: ignore[incompatible-method-override] - MLflow reads the names
        """`models.scoring.registered.score_table` of the snapshots."""
        return score_table(self.scorer, model_input)


mlflow.models.set_model(BatchRisk())
