"""The plant as a Dagster resource, and the monthly partitions of its history."""

from dataclasses import asdict
from pathlib import Path

import dagster as dg

from pipelines.plant import Plant
from pipelines.settings import Settings


class PlantResource(dg.ConfigurableResource):
    """`pipelines.settings.Settings` as the Dagster UI shows them; `open` gives the plant itself."""

    process: str
    history: str
    data_dir: str
    first_month: str
    max_quarantined: int | None = None
    accept_removed: bool = False
    as_of: str
    timezone: str
    owner: str
    release_as_demo: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "PlantResource":
        """The resource of these settings."""
        return cls(**{name: str(v) if isinstance(v, Path) else v for name, v in asdict(settings).items()})

    def open(self) -> Plant:
        """The plant of these settings."""
        settings = Settings(
            process=Path(self.process),
            history=Path(self.history),
            data_dir=Path(self.data_dir),
            first_month=self.first_month,
            max_quarantined=self.max_quarantined,
            accept_removed=self.accept_removed,
            as_of=self.as_of,
            timezone=self.timezone,
            owner=self.owner,
            release_as_demo=self.release_as_demo,
        )
        return Plant(settings)


def months_since(first_month: str) -> dg.MonthlyPartitionsDefinition:
    """Monthly partitions by the start of a batch, up to and including the running month."""
    return dg.MonthlyPartitionsDefinition(start_date=first_month, fmt="%Y-%m", end_offset=1)


def in_one_run() -> dg.BackfillPolicy:
    """Any range of months in one run; the assets skip months whose inputs are unchanged."""
    return dg.BackfillPolicy.single_run()
