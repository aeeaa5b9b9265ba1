"""Where a plant's data lies and how it is run: read once, from the environment or the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

from features.errors import BatchguardError

PHONE_HOME_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
PACKAGED = Path(str(resources.files("pipelines")))  # dagster.yaml and processes/, in a checkout and in a wheel
DEMO = {"PROCESS": "cart", "HISTORY": "var/demo/plant/history", "DATA_DIR": "var/demo", "AS_OF": "history"}


def process_file(name: str) -> Path:
    """The process definition that a name stands for.

    Args:
        name: Path of a TOML file, or the id of a process that is part of the package, such as `cart`.
    """
    path, packaged = Path(name), PACKAGED / "processes" / f"{name}.toml"
    return packaged if not path.exists() and packaged.is_file() else path


@dataclass(frozen=True)
class Settings:
    """Settings of one process of one plant.

    Attributes:
        process: The process definition, a TOML file.
        history: The folder the run history is read from.
        data_dir: Where everything that batchguard makes is kept.
        first_month: First monthly partition, `YYYY-MM`.
        max_quarantined: How many broken rows a person has accepted; None: as `[source]` of the process definition says.
        accept_removed: Whether any number of rows may have left the source since the last ingest.
        as_of: `now`, `history` (the newest moment in the run history) or an ISO time with offset.
        timezone: Time zone of the schedules.
        owner: Owner of the Dagster assets, `team:NAME` or an e-mail address.
        release_as_demo: Whether a run signs and releases its challenger as two persons of the demo.
    """

    process: Path
    history: Path
    data_dir: Path = Path("var")
    first_month: str = "2015-01"
    max_quarantined: int | None = None
    accept_removed: bool = False
    as_of: str = "now"
    timezone: str = "UTC"
    owner: str = "team:process-monitoring"
    release_as_demo: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Settings from `BATCHGUARD_*` variables; those of the demo where neither process nor history is named.

        Raises:
            BatchguardError: Only one of process and history is named, or a number is not a number.
        """
        given = {name: text for name in _names() if (text := environment.get(f"BATCHGUARD_{name}"))}
        if not {"PROCESS", "HISTORY"} & set(given):
            given = DEMO | given
        for name, other in (("PROCESS", "HISTORY"), ("HISTORY", "PROCESS")):
            if name not in given:
                raise BatchguardError(
                    f"BATCHGUARD_{name} is not set, but BATCHGUARD_{other} is", remedy="Set both, or neither: the demo."
                )
        return cls(
            process=process_file(given["PROCESS"]),
            history=Path(given["HISTORY"]),
            data_dir=Path(given.get("DATA_DIR", cls.data_dir)),
            first_month=given.get("FIRST_MONTH", cls.first_month),
            max_quarantined=_whole_number(given, "MAX_QUARANTINED", 0) if "MAX_QUARANTINED" in given else None,
            accept_removed=given.get("ACCEPT_REMOVED", "") == "True",
            as_of=given.get("AS_OF", cls.as_of),
            timezone=given.get("TIMEZONE", cls.timezone),
            owner=given.get("OWNER", cls.owner),
            release_as_demo=given.get("RELEASE_AS_DEMO", "") == "True",
        )

    def to_environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads these settings back from."""
        values = {name: getattr(self, name.lower()) for name in _names()}
        return {
            f"BATCHGUARD_{name}": str(value.absolute() if isinstance(value, Path) else value)
            for name, value in values.items()
            if value is not None
        }

    @property
    def is_demo(self) -> bool:
        """Whether the history is the one that `make demo` simulates."""
        return self.history == Path(DEMO["HISTORY"])

    def in_a_line(self) -> str:
        """Process, history and data directory; for the demo also how to name another plant."""
        line = f"process {self.process}, history {self.history}, data in {self.data_dir}"
        how = "BATCHGUARD_PROCESS and BATCHGUARD_HISTORY name another plant"
        made = "" if self.history.exists() else ", which 'make demo' makes"
        return f"{line}: the demo{made}; {how}" if self.is_demo else line

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


def _names() -> list[str]:
    return [field.name.upper() for field in fields(Settings)]


def _whole_number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not text.isdigit():
        raise BatchguardError(f"BATCHGUARD_{name} is {text!r}", expected="a whole number, 0 or more")
    return int(text)
