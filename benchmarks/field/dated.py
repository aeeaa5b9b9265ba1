"""Public data sets with an order of production, replayed in time: source, converter, process definition, label.

One history may be asked several questions: a `label_rule` of a data set takes the place of the definition's own, and
nothing else changes. The definition itself refuses a rule on a parameter that could be a feature.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from features.errors import ProcessError
from features.process import load_process
from pipelines.main_job import prepare, run_job, with_months_of_source
from pipelines.plant import Plant
from pipelines.settings import Settings
from pipelines.sources.convert import CONVERTERS
from pipelines.sources.policy import PlantDefinition

ROOT = Path(__file__).resolve().parents[2]
_OWN_RULE = re.compile(r'^label_rule = "[^"]*"$', re.MULTILINE)
_OTHER_RULES = re.compile(r"^compare_splits_on = .*\n", re.MULTILINE)


@dataclass(frozen=True)
class DataSet:
    """A public data set and a question.

    Attributes:
        name: Short and unique.
        source: Folder of the data, and name of its converter.
        process: Id of its definition, `processes/<id>.toml`.
        title: For tables.
        label_rule: In the place of the definition's own rule; None: the definition as it is.
        note: What a reader must know beside a figure.
    """

    name: str
    source: str
    process: str
    title: str
    label_rule: str | None = None
    note: str = ""


_SIMULATED = "simulated: verifies software, validates no model"
_TAIL = "declared tail: every batch was within specification"
DATA_SETS = (
    DataSet("tablet_yield", "tablet1005", "tablet", "Tablet, yield below 97 %", note=_TAIL),
    DataSet("tablet_dissolution", "tablet1005", "tablet", "Tablet, dissolution below 87 %", "dissolution_av_pct < 87", _TAIL),
    DataSet("tablet_solvent", "tablet1005", "tablet", "Tablet, solvent above 0.10 %", "residual_solvent_pct > 0.10", _TAIL),
    DataSet("tablet_impurities", "tablet1005", "tablet", "Tablet, impurities above 0.30 %", "impurities_total_pct > 0.30", _TAIL),
    DataSet("secom", "secom", "secom", "SECOM, line test failed"),
    DataSet("ai4i", "ai4i", "ai4i", "AI4I 2020, machine failed", note=_SIMULATED),
    DataSet("indpensim", "indpensim", "indpensim", "IndPenSim, fault injected", note=_SIMULATED),
)  # fmt: skip


def data_folder() -> Path:
    """Where the public data lie, if they do: BATCHGUARD_REAL_DATA, or `../shared/data` beside the checkout."""
    return Path(os.environ.get("BATCHGUARD_REAL_DATA", ROOT.parent / "shared" / "data"))


def definition_of(data: DataSet, folder: Path) -> Path:
    """The process definition of a question: the committed one, or a copy in `folder` with the other label rule.

    Raises:
        ProcessError: The definition has no rule to replace, or its parameter is unknown or not excluded.
    """
    path = ROOT / "processes" / f"{data.process}.toml"
    if data.label_rule is None:
        return path
    text, replaced = _OWN_RULE.subn(f'label_rule = "{data.label_rule}"', path.read_text(encoding="utf-8"))
    if replaced != 1:
        raise ProcessError(f"{path}: {replaced} lines of the form label_rule = ...", expected="one, to replace")
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{data.name}.toml"
    out.write_text(_OTHER_RULES.sub("", text), encoding="utf-8")
    load_process(out, PlantDefinition)
    return out


def ingested(data: DataSet, folder: Path) -> Plant:
    """Convert and ingest a source once, and open it with the question's label.

    Questions of one source share the history and its summaries; labels, and snapshots, which count earlier failures,
    are those of the question. What else is made of a plant (`batchguard run`) needs a folder for each question.

    Args:
        data: The question.
        folder: Holds a folder for each source; what is complete there is not made again.
    """
    own = folder / data.source
    done = own / "ingested"
    settings = Settings(definition_of(data, own), own / "history", own / "data", as_of="history")
    if not done.exists():
        if not settings.history.exists():
            CONVERTERS[data.source](data_folder() / data.source, settings.history)
        run_job(prepare(with_months_of_source(settings)), "ingest", lambda _: None)
        done.touch()
    return Plant(with_months_of_source(settings))
