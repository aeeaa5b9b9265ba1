"""What a training was made from and by, as parameters of its run: enough to make it again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from features.canonical import digest
from features.digests import module_digests, process_digest
from models.backtest.fits import code_digest
from pipelines.plant import Plant, Versions
from pipelines.storage.files import sha256_of

PROCESS, POLICY, CODE, LOCK, LIBRARIES = "process_digest", "policy_digest", "code_digest", "lock_digest", "libraries"
_DATA = "data."
_CHECKOUT = Path(__file__).parents[1]
_COMPUTE = ("lightgbm", "numba", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
_NOT_TRAINING = ("simulator/", "sources/convert/", "defs/")


def recorded(plant: Plant) -> dict[str, str]:
    """Parameters of a training: definition, policy, code, lock file, libraries, and each table with version and digest.

    Args:
        plant: Fixed at the versions that the training reads.
    """
    stores = {"history": plant.history, "features": plant.features}
    tables = {
        f"{_DATA}{store}.{table}": f"{at} {stores[store].digest(table)}" for store, table, at in plant.versions or ()
    }
    return {"data_version": plant.data_version(), **made_by(plant), **tables}


def made_by(plant: Plant) -> dict[str, str]:
    """What a training of a plant would be made by now, beside its data."""
    return {
        PROCESS: process_digest(plant.process), POLICY: digest(plant.process.policy.model_dump(mode="json")),
        CODE: training_code_digest(), LOCK: lock_digest(), LIBRARIES: libraries(),
    }  # fmt: skip


def tables_of(params: Mapping[str, str]) -> dict[tuple[str, str], tuple[int, str]]:
    """Version and digest of each table that a run recorded, by store and table; empty for a run that recorded none."""
    found = {}
    for name, value in params.items():
        if name.startswith(_DATA):
            _, store, table = name.split(".", 2)
            at, sha256 = value.split(" ")
            found[store, table] = int(at), sha256
    return found


def versions_of(params: Mapping[str, str]) -> Versions:
    """The versions that a run recorded, as `Plant` takes them."""
    return tuple((store, table, at) for (store, table), (at, _) in sorted(tables_of(params).items()))


@cache
def training_code_digest() -> str:
    """Digest of the code that makes features, models and their inputs; words, pictures and the simulator do not count."""
    own = {
        name: code for name, code in module_digests(Path(__file__).parent).items() if not name.startswith(_NOT_TRAINING)
    }
    return digest([code_digest(), own])


def lock_digest(checkout: Path = _CHECKOUT) -> str:
    """SHA-256 of the lock file of a checkout; `none` where the software was installed without one."""
    path = checkout / "uv.lock"
    return sha256_of(path) if path.is_file() else "none"


def libraries() -> str:
    """Versions of Python and of the libraries that compute, in one line."""
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in _COMPUTE)])
