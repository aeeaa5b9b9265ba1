"""The plant as a Dagster resource, and the monthly partitions of its history."""

import dagster as dg

from pipelines.plant import Plant
from pipelines.settings import Settings


class PlantResource(dg.ConfigurableResource):
    """Settings as the Dagster UI shows them; `open` gives the plant itself."""

    process: str
    history: str
    data_dir: str
    first_month: str
    max_quarantined: int
    as_of: str
    trials: int
    timezone: str

    @classmethod
    def of(cls, settings: Settings) -> "PlantResource":
        """The resource that stands for these settings."""
        names = Settings.__dataclass_fields__
        return cls(**{n: v if isinstance(v := getattr(settings, n), int) else str(v) for n in names})

    def open(self) -> Plant:
        """The plant of these settings."""
        names = Settings.__dataclass_fields__
        return Plant(Settings.from_environment({f"BATCHGUARD_{n.upper()}": str(getattr(self, n)) for n in names}))


def months_since(first_month: str) -> dg.MonthlyPartitionsDefinition:
    """Monthly partitions by the start of a batch, up to and including the running month."""
    return dg.MonthlyPartitionsDefinition(start_date=first_month, fmt="%Y-%m", end_offset=1)


def in_one_run() -> dg.BackfillPolicy:
    """Any range of months in one run: the rooms skip the months that have not changed."""
    return dg.BackfillPolicy.single_run()
