"""The Dagster code location: `dagster dev -m pipelines.definitions`."""

import os

from pipelines.settings import PHONE_HOME_OFF, Settings

for name, value in PHONE_HOME_OFF.items():  # before dagster or mlflow are imported
    os.environ.setdefault(name, value)

from pipelines.defs.location import definitions  # noqa: E402

defs = definitions(Settings.from_environment())
