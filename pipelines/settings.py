"""Where a plant's data lies and how it is run: read once, from the environment or the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import BatchguardError

PHONE_HOME_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Settings:
    """Settings of one process of one plant.

    Attributes:
        process: The process definition, a TOML file.
        history: The folder the run history is read from.
        data_dir: Where everything that batchguard makes is kept.
        first_month: First monthly partition, `YYYY-MM`.
        max_quarantined: How many broken rows a person has accepted.
        as_of: `now`, `history` (the newest moment in the run history) or an ISO time with offset.
        trials: Trials of the tuning.
        timezone: Time zone of the schedules.
    """

    process: Path
    history: Path
    data_dir: Path = Path("var")
    first_month: str = "2015-01"
    max_quarantined: int = 0
    as_of: str = "now"
    trials: int = 12
    timezone: str = "UTC"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Settings from `BATCHGUARD_*` variables.

        Raises:
            BatchguardError: A number is not a number.
        """
        given = {name: environment.get(f"BATCHGUARD_{name.upper()}") for name in cls.__dataclass_fields__}
        values: dict[str, Any] = {name: text for name, text in given.items() if text}
        for name in ("process", "history", "data_dir"):
            values[name] = Path(
                str(
                    values.get(name)
                    or {"process": "processes/cart.toml", "history": "var/demo/plant/history", "data_dir": "var"}[name]
                )
            )
        for name in ("max_quarantined", "trials"):
            if name in values:
                values[name] = _whole_number(f"BATCHGUARD_{name.upper()}", str(values[name]))
        return cls(**values)

    def to_environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads these settings back from."""
        absolute = {"process", "history", "data_dir"}
        return {
            f"BATCHGUARD_{name.upper()}": str(Path(value).absolute() if name in absolute else value)
            for name, value in ((n, getattr(self, n)) for n in self.__dataclass_fields__)
        }

    @property
    def dagster_home(self) -> Path:
        """Run history of Dagster."""
        return self.data_dir / "dagster"

    @property
    def mlflow_uri(self) -> str:
        """Tracking store and model registry."""
        return f"sqlite:///{(self.data_dir / 'mlflow.db').absolute()}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Folder of MLflow's artifacts."""
        return (self.data_dir / "mlartifacts").absolute()


def _whole_number(name: str, text: str) -> int:
    if not text.isdigit():
        raise BatchguardError(f"{name} is {text!r}", expected="a whole number, 0 or more")
    return int(text)
