"""The folder of the model: damaged, exchanged, taken back, gone. The last good release speaks on, and says that it is stale."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.record import figure
from benchmarks.serving.http import ask
from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import under
from benchmarks.serving.place import Place, release
from benchmarks.serving.server import Endpoint, endpoint
from models.scoring.score import Release
from serving.bundle.loader import load_predictor
from serving.bundle.manifest import trusted_keys
from serving.bundle.store import POINTER, Bundle, BundleStore
from serving.ids import now_us
from serving.model_releases import ModelReleases

TIMES, SEEN_WITHIN_S = 6, 10.0
CONFIG = "look_every_s = 0.1\n"


@dataclass(frozen=True)
class Shelf:
    """Releases beside the folder, whole: what is damaged is a copy.

    Attributes:
        bundles: The folder that the endpoint looks into.
        kept: Where the whole ones lie.
        older: Released before the one that speaks.
        speaking: Speaks.
        newer: Released after it, from other trees.
        newest: Released after that one.
        foreign: Released last, signed by a key that nobody trusts.
    """

    bundles: Path
    kept: Path
    older: str
    serving_model: str
    newer: str
    newest: str
    foreign: str

    def put(self, sha256: str, source: str = "") -> Path:
        """A copy of a release under its address; with a source, of another one under the same address."""
        target = self.bundles / sha256
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.kept / (source or sha256), target)
        return target

    def point(self, content: str) -> None:
        """Let the pointer say something."""
        beside = self.bundles / ".next"
        beside.write_text(content)
        beside.replace(self.bundles / POINTER)

    def mend(self) -> None:
        """Let the pointer name the release that speaks."""
        self.point(self.serving_model)


def figures_of(place: Place) -> Iterator[dict[str, Any]]:
    """Each way of damage so many times; then a sound release takes over."""
    url = f"sqlite:///{place.root / 'releases.db'}"
    shelf = _shelf(place)
    judge = Judge(url, None, ModelReleases(place.bundles, place.data_dir / "keys"))
    with endpoint(place, url, CONFIG) as found:
        for name, harm in _ways(shelf).items():
            noticed: list[float] = []
            before = judge.before()
            told = under(found, lambda _, harm=harm, noticed=noticed: noticed.append(_harmed(found, shelf, harm)), TIMES,
                         pause_s=0.1)  # fmt: skip
            others = sum(score["model"]["version"] != "2" for score in told.scores.values())
            more = (f"the endpoint saw it and said it was stale {sum(s < SEEN_WITHIN_S for s in noticed)} times, after at most "
                    f"{max(noticed):.1f} s; scores by another release {others}")  # fmt: skip
            faults = others + sum(s >= SEEN_WITHIN_S for s in noticed)
            yield judge.figure(f"newest release {name}", TIMES, told, before, more, faults)
        yield _takes_over(found, shelf)


def _ways(shelf: Shelf) -> dict[str, Callable[[], None]]:  # noqa: C901 - ways beside each other, a line or two each
    def damaged(change: Callable[[Path, bytes], object]) -> Callable[[], None]:
        def once() -> None:
            model = next((shelf.put(shelf.newer) / "predictor").glob("model*.txt"))
            change(model, model.read_bytes())
            shelf.point(shelf.newer)

        return once

    def linked(path: Path, content: bytes) -> None:
        elsewhere = shelf.kept / "elsewhere.txt"
        elsewhere.write_bytes(content)
        path.unlink()
        path.symlink_to(elsewhere)

    def linked_folder() -> None:
        shutil.rmtree(shelf.put(shelf.newer))
        (shelf.bundles / shelf.newer).symlink_to(shelf.kept / shelf.newer)
        shelf.point(shelf.newer)

    def swapped() -> None:
        one, other = (shelf.put(sha256) / "predictor" / "model.0.txt" for sha256 in (shelf.newer, shelf.newest))
        aside = one.with_name("aside")
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
        shelf.point(shelf.newest)

    def exchanged() -> None:
        shelf.put(shelf.newest, source=shelf.foreign)
        shelf.point(shelf.newest)

    def foreign() -> None:
        shelf.put(shelf.foreign)
        shelf.point(shelf.foreign)

    def downgraded() -> None:
        shelf.put(shelf.older)
        shelf.point(shelf.older)

    def removed() -> None:
        shelf.bundles.rename(shelf.bundles.with_name("aside"))

    def restored() -> None:
        """The whole folder as it was before the release that speaks: no note in it of what was used since."""
        removed()
        shelf.bundles.mkdir()
        downgraded()

    return {
        "corrupted": damaged(lambda p, content: p.write_bytes(content.replace(b"leaf_value=", b"leaf_value=9", 1))),
        "truncated": damaged(lambda p, content: p.write_bytes(content[: len(content) // 2])),
        "with a symbolic link in it": damaged(linked),
        "a symbolic link itself": linked_folder,
        "with the files of another one": swapped,
        "exchanged for one that nobody trusted signed": exchanged,
        "signed by a key that nobody trusts": foreign,
        "named by a pointer that is nonsense": lambda: shelf.point("nonsense"),
        "an older one (downgrade)": downgraded,
        "an older one, the folder as it was then": restored,
        "removed with the whole folder": removed,
    }


def _harmed(found: Endpoint, shelf: Shelf, harm: Callable[[], None]) -> float:
    """Seconds until the endpoint says that it is stale; then all is mended, and it says that it is not."""
    harm()
    noticed = _until(found, stale=True)
    aside = shelf.bundles.with_name("aside")
    if aside.exists():
        shutil.rmtree(shelf.bundles, ignore_errors=True)
        aside.rename(shelf.bundles)
    shelf.mend()
    for sha256 in (shelf.newer, shelf.newest, shelf.foreign, shelf.older):
        target = shelf.bundles / sha256
        target.unlink() if target.is_symlink() else shutil.rmtree(target, ignore_errors=True)
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
    """Seconds until a sound release, put there after all that, speaks."""
    shelf.put(shelf.newest)
    begin, version = time.monotonic(), ""
    shelf.point(shelf.newest)
    while version != "4" and time.monotonic() - begin < 60:
        version = ask(found.port, found.send("GET", "/v1/model"))[1]["version"]
        time.sleep(0.05)
    return figure("a sound release after all these speaks", round(time.monotonic() - begin, 1), "s", bound=30.0, side="max",
                  n=1, note="with its canary in a child process, and all rows read again")  # fmt: skip


def _shelf(place: Place) -> Shelf:
    """Five releases from the one of the place, and an endpoint that will begin with the second."""
    store, kept = BundleStore(place.bundles), place.root / "kept"
    first = store.read(store.pointed(), trusted_keys(place.data_dir / "keys"))
    predictor, words = load_predictor(first), first.vocabulary
    text = lgb.Booster(model_str=predictor.model_texts[0]).model_to_string(num_iteration=400)
    other = replace(predictor, model_texts=(text,), from_h=(0.0,))
    made = [first.sha256, *(release(place, p, words, v) for p, v in ((predictor, "2"), (other, "3"), (predictor, "4")))]
    foreign = _foreign(place, first)
    shutil.copytree(place.bundles, kept, ignore=shutil.ignore_patterns("current", "accepted.json"))
    shelf = Shelf(place.bundles, kept, made[0], made[1], made[2], made[3], foreign)
    for sha256 in (*made[:1], *made[2:], foreign):
        shutil.rmtree(place.bundles / sha256)
    shelf.mend()
    return shelf


def _foreign(place: Place, like: Bundle) -> str:
    predictor = load_predictor(like)
    with tempfile.TemporaryDirectory() as folder:
        predictor.save(Path(folder))
        made = BundleStore(place.bundles).export(
            Path(folder), Release(like.manifest.name, "5"), like.process, like.vocabulary, Ed25519PrivateKey.generate(),
            released_us=now_us(),
        )  # fmt: skip
    return made.sha256
