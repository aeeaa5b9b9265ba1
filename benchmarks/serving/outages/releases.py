"""The effective release: its bundle damaged, exchanged, gone, its seal foreign. The former one serves on and says that it is stale."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb

from benchmarks.record import figure
from benchmarks.serving.http import ask
from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import under
from benchmarks.serving.place import Place, bundle
from benchmarks.serving.released import models_of, release_into, rolled_back
from benchmarks.serving.server import Endpoint, endpoint
from features.context import Vocabulary
from models.predictor import Predictor
from serving.bundle.loader import load_predictor
from serving.commands import RecordsAdmin
from serving.model_releases import KEYS

TIMES, SEEN_WITHIN_S = 6, 10.0
CONFIG = "look_every_s = 0.1\n"


@dataclass
class Shelf:
    """Bundles beside the folder of the endpoint, whole: what is damaged is a copy.

    Attributes:
        place: The endpoint's.
        kept: Where the whole bundles lie.
        predictor: Of the release that serves.
        other: With other trees.
        words: Names of the history.
        numbers: Of the versions that were released.
    """

    place: Place
    kept: Path
    predictor: Predictor
    other: Predictor
    words: Vocabulary
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(2, 10_000)))

    def put(self, version: str) -> Path:
        """A copy of the bundle of a version in the endpoint's folder, from other trees than those that serve."""
        made = bundle(self.kept, self.other, self.words, version)
        target = self.place.bundles / made.sha256
        shutil.copytree(self.kept / made.sha256, target)
        return target

    def release(self, version: str, *, data_dir: Path | None = None) -> None:
        """Make a version effective by the whole bundle; nothing of it is tried out."""
        with RecordsAdmin(self.place.data_dir) as admin:
            release_into(
                admin.records, self.kept, data_dir or self.place.data_dir, version,
                lambda n: bundle(self.kept, self.other, self.words, version, n), canary=lambda _: None,
            )  # fmt: skip

    def mend(self) -> None:
        """Let the records call the release effective that served before."""
        with RecordsAdmin(self.place.data_dir) as admin:
            rolled_back(admin.records, self.place.bundles, self.place.data_dir)


def figures_of(place: Place) -> Iterator[dict[str, Any]]:
    """Each way of damage so many times; then a sound release takes over."""
    url = f"sqlite:///{place.root / 'releases.db'}"
    shelf = _shelf(place)
    judge = Judge(url, None, models_of(place.bundles, place.data_dir, url))
    with endpoint(place, url, CONFIG) as found:
        for name, harm in _ways(shelf).items():
            noticed: list[float] = []
            before = judge.before()
            told = under(found, lambda _, harm=harm, noticed=noticed: noticed.append(_harmed(found, shelf, harm)), TIMES,
                         pause_s=0.1)  # fmt: skip
            others = sum(score["model"]["version"] != "1" for score in told.scores.values())
            more = (f"the endpoint saw it and said it was stale {sum(s < SEEN_WITHIN_S for s in noticed)} times, after at most "
                    f"{max(noticed):.1f} s; scores by another release {others}")  # fmt: skip
            faults = others + sum(s >= SEEN_WITHIN_S for s in noticed)
            yield judge.figure(f"effective release {name}", TIMES, told, before, more, faults)
        yield _takes_over(found, shelf)


def _ways(shelf: Shelf) -> dict[str, Callable[[str], None]]:
    def damaged(change: Callable[[Path, bytes], object]) -> Callable[[str], None]:
        def once(version: str) -> None:
            model = next((shelf.put(version) / "predictor").glob("model*.txt"))
            change(model, model.read_bytes())
            shelf.release(version)

        return once

    def linked(path: Path, content: bytes) -> None:
        elsewhere = shelf.kept / "elsewhere.txt"
        elsewhere.write_bytes(content)
        path.unlink()
        path.symlink_to(elsewhere)

    def linked_folder(version: str) -> None:
        target = shelf.put(version)
        shutil.rmtree(target)
        target.symlink_to(shelf.kept / target.name)
        shelf.release(version)

    def exchanged(version: str) -> None:
        target = shelf.put(version)
        shutil.rmtree(target)
        shutil.copytree(shelf.place.bundles / shelf.place.first.sha256, target)
        shelf.release(version)

    def foreign(version: str) -> None:
        shelf.put(version)
        shelf.release(version, data_dir=shelf.kept / "foreign")

    return {
        "corrupted": damaged(lambda p, content: p.write_bytes(content.replace(b"leaf_value=", b"leaf_value=9", 1))),
        "truncated": damaged(lambda p, content: p.write_bytes(content[: len(content) // 2])),
        "with a symbolic link in it": damaged(linked),
        "a symbolic link itself": linked_folder,
        "exchanged for another one": exchanged,
        "sealed by keys that nobody trusts": foreign,
        "absent": shelf.release,
    }


def _harmed(found: Endpoint, shelf: Shelf, harm: Callable[[str], None]) -> float:
    """Seconds until the endpoint says that it is stale; then all is mended, and it says that it is not."""
    harm(str(next(shelf.numbers)))
    noticed = _until(found, stale=True)
    shelf.mend()
    _until(found, stale=False)
    return noticed


def _until(found: Endpoint, *, stale: bool) -> float:
    begin = time.monotonic()
    while time.monotonic() - begin < SEEN_WITHIN_S:
        _, model = ask(found.port, found.send("GET", "/v1/model"))
        if (model["stale_since_us"] is not None) == stale:
            break
        time.sleep(0.02)
    return time.monotonic() - begin


def _takes_over(found: Endpoint, shelf: Shelf) -> dict[str, Any]:
    """Seconds until a sound release, made effective after all that, serves."""
    last = str(next(shelf.numbers))
    shelf.put(last)
    shelf.release(last)
    begin, version = time.monotonic(), ""
    while version != last and time.monotonic() - begin < 60:
        version = ask(found.port, found.send("GET", "/v1/model"))[1]["version"]
        time.sleep(0.05)
    return figure("a sound release after all these serves", round(time.monotonic() - begin, 1), "s", bound=30.0, side="max",
                  n=1, note="with its canary in a child process, and all rows read again")  # fmt: skip


def _shelf(place: Place) -> Shelf:
    """What the ways of damage are made from; the keys of the foreign ones are others."""
    kept, predictor = place.root / "kept", load_predictor(place.first)
    text = lgb.Booster(model_str=predictor.model_texts[0]).model_to_string(num_iteration=400)
    (kept / "foreign" / KEYS).mkdir(parents=True)
    return Shelf(place, kept, predictor, replace(predictor, model_texts=(text,), from_h=(0.0,)), place.first.vocabulary)
