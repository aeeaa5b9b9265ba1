"""The Dagster code location: `dagster dev` in the root of a checkout, `dagster dev -m pipelines.definitions` elsewhere."""

import contextlib
import logging
import os

from features.errors import SourceError
from pipelines.settings import PHONE_HOME_OFF, Settings

for name, value in PHONE_HOME_OFF.items():  # before dagster or mlflow are imported
    os.environ.setdefault(name, value)

from pipelines.defs.location import definitions  # noqa: E402
from pipelines.main_job import with_months_of_source  # noqa: E402

settings = Settings.from_environment()
if "BATCHGUARD_FIRST_MONTH" not in os.environ:
    with contextlib.suppress(SourceError):  # the location loads all the same, and the ingest reports it
        settings = with_months_of_source(settings)
level = logging.WARNING if settings.is_demo else logging.INFO  # a code server shows warnings
logging.getLogger("dagster").log(level, "batchguard: %s", settings.in_a_line())
defs = definitions(settings)
