"""Trains a registered version again from what its run recorded, and compares the result byte for byte."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import BatchguardError, StorageError
from models.backtest.fits import Fits
from models.folder import MANIFEST
from models.predictor import Predictor
from models.registry import RegisteredModel, Registry
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.recorded import CODE, LIBRARIES, LOCK, POLICY, PROCESS, made_by, tables_of, versions_of
from pipelines.settings import Settings
from pipelines.training import train_on

_PARTS = {
    PROCESS: "process definition", POLICY: "policy", CODE: "code", LOCK: "lock file", LIBRARIES: "libraries",
}  # fmt: skip
_SHOWN = 12  # characters of a digest


@dataclass(frozen=True)
class Compared:
    """One part of a reproduction: what it is, whether it is as recorded, and a line that says so."""

    what: str
    same: bool
    line: str


def reproduce(settings: Settings, version: str, progress: Callable[[str], None]) -> list[Compared]:
    """Train a version again and compare; nothing is registered, and no stored model of a replay is used.

    Where the data, the definition or the policy are not those of then, nothing is trained: the result could not be held
    against the recorded one. With other code or libraries it is, and the result says whether they matter.

    Args:
        settings: Name the process and the data directory.
        version: Number in the registry.
        progress: Receives lines.

    Raises:
        StorageError: There is no such version, or its run recorded too little.
    """
    plant = Plant(settings)
    registry = Registry(settings.data_dir)
    model = registry.by_version(plant.process.id, version)
    params = registry.params(model)
    if not tables_of(params) or not _PARTS.keys() <= params.keys():
        raise StorageError(
            f"model {model.name} version {version} was registered before its run recorded data, code and lock file",
            remedy="Train again: later versions can be reproduced.",
        )
    then = Plant(settings, versions_of(params))
    parts = [*_parts(params, made_by(plant)), _data(then, params)]
    if not all(part.same for part in parts if part.what in (_PARTS[PROCESS], _PARTS[POLICY], "data")):
        return [*parts, Compared("result", False, "result: not made, because the parts above are not those of then")]
    return [*parts, _result(then, registry, model, progress)]


def _parts(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Compared]:
    for name, what in _PARTS.items():
        same = was[name] == now[name]
        yield Compared(what, same, f"{what}: the same" if same else f"{what}: differs: {_both(was[name], now[name])}")


def _both(was: str, now: str) -> str:
    """What was recorded and what is there; of lists, only the parts that differ."""
    if ", " not in was:
        return f"recorded {was[:_SHOWN]}, now {now[:_SHOWN]}"
    old, new = was.split(", "), now.split(", ")
    gone, come = [part for part in old if part not in new], [part for part in new if part not in old]
    return f"recorded {', '.join(gone)}; now {', '.join(come)}"


def _data(then: Plant, params: Mapping[str, str]) -> Compared:
    """Whether each table still has the content of its recorded version, every file byte for byte."""
    stores, wrong, tables = {"history": then.history, "features": then.features}, [], tables_of(params)
    for (store, table), (at, sha256) in tables.items():
        try:
            for path in stores[store].files(table):
                stores[store].check(path)
            if stores[store].digest(table) != sha256:
                wrong.append(f"{table} version {at} holds something else")
        except BatchguardError as error:
            wrong.append(f"{table} version {at}: {error.what}")
    if wrong:
        return Compared("data", False, f"data: differs: {'; '.join(wrong)}")
    return Compared("data", True, f"data: the same, {len(tables)} tables at their recorded versions")


def _result(then: Plant, registry: Registry, model: RegisteredModel, progress: Callable[[str], None]) -> Compared:
    progress("reading the tables at their recorded versions")
    history, seal = history_of(then), registry.seal(model)
    with tempfile.TemporaryDirectory(prefix="batchguard-") as folder:
        fits = Fits(Path(folder), then.process.policy)
        trained, _ = train_on(then, history, seal, fits, progress)
    return compare(trained.predictor, registry.predictor_folder(model), model.sha256)


def compare(made: Predictor, folder: Path, sha256: str) -> Compared:
    """A predictor beside the registered one.

    Args:
        made: The new one.
        folder: Of the registered one.
        sha256: Its registered digest.
    """
    registered = Predictor.load(folder, sha256=sha256)
    n = len(registered.model_texts)
    if made.sha256 == registered.sha256:
        line = f"result: the same predictor {sha256[:_SHOWN]}, {n} model texts equal to the byte"
        return Compared("result", True, line)
    with tempfile.TemporaryDirectory(prefix="batchguard-") as other:
        made.save(Path(other))
        was, now = _files(folder), _files(Path(other))
    differing = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    both = _both(sha256, made.sha256)
    return Compared("result", False, f"result: differs: predictor {both}; files that differ: {', '.join(differing)}")


def _files(folder: Path) -> dict[str, str]:
    return json.loads((folder / MANIFEST).read_bytes())["files"]
