"""A bundle serves only if the records call it effective and every byte is what two keys sealed."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from features.context import Vocabulary
from features.process import ProcessDefinition
from models.folder import MANIFEST as PREDICTOR_MANIFEST
from models.learners.forest import Forest
from models.predictor import Predictor
from serving.bundle import files
from serving.bundle.bundle import Bundle
from serving.bundle.canary import run_canary
from serving.bundle.files import read_folder
from serving.bundle.loader import RETRY_US, BundleLoader
from serving.bundle.manifest import FORMAT, MANIFEST, BundleError
from serving.bundle.store import BundleStore, Version
from serving.interfaces import EngineError
from serving.release.dsse import Envelope, EnvelopeError, KeySignature
from serving.release.history import EffectiveRelease
from serving.release.site_keys import make_keys, signing_key, trusted_keys
from serving.release.statement import Author, Predicate, Statement

WORDS = Vocabulary(attributes=("a",), materials=("m",), lot_tests=(("p", "m"),), metrics=(("cfu", "A"),))


@dataclass
class Place:
    """A folder of bundles, the site's keys, what the records call effective, and a clock."""

    store: BundleStore
    keys: Path
    predictor: Path
    process: ProcessDefinition
    now: int = 0
    effective: EffectiveRelease | None = None
    tried: list[str] = field(default_factory=list)

    def write(self, version: str = "1", submission: int = 0) -> Bundle:
        return self.store.write(self.predictor, Version("soup", version, submission), self.process, WORDS)

    def release(self, version: str = "1", *, keys: Path | None = None, stated: dict[str, str] | None = None) -> Bundle:
        """Write a bundle, seal it with keys, and call it effective."""
        bundle = self.write(version)
        self.effective = EffectiveRelease(
            bundle.sha256, version, self.envelope(bundle, keys or self.keys, stated or {})
        )
        return bundle

    def envelope(self, bundle: Bundle, keys: Path, stated: dict[str, str]) -> str:
        held = bundle.manifest
        predicate = Predicate(
            process=held.process_id, version=held.version, model_sha256=held.model_sha256, intended_use_sha256="2" * 64,
            acceptance_sha256="3" * 64, test_reading="4" * 64, report_sha256="5" * 64, meaning="responsibility",
            author=Author("anna", "Anna Weiss"), at="2026-11-28T15:00:00+01:00",
        )  # fmt: skip
        predicate = replace(predicate, **stated)
        found = Envelope(Statement(bundle.sha256, predicate).to_bytes())
        for role in ("author", "approver"):
            key = signing_key(keys, role)
            found = found.with_signature(KeySignature(key.key_id, key.sign(found.signed_bytes)))
        return found.to_text()

    def sealed(self) -> Bundle:
        assert self.effective is not None
        return self.store.sealed(self.effective.release_id, self.effective.envelope, trusted_keys(self.keys))

    def loader(self, **more) -> BundleLoader:
        given: dict = {
            "clock": lambda: self.now,
            "steady": lambda: self.now,
            "canary": lambda bundle: self.tried.append(bundle.sha256),
        } | more
        return BundleLoader(self.store, lambda: self.effective, lambda: trusted_keys(self.keys), **given)


@pytest.fixture(scope="module")
def predictor(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predictor")
    trained.predictor.save(folder)
    return folder


@pytest.fixture
def place(tmp_path, predictor, plant) -> Place:
    make_keys(tmp_path / "keys")
    return Place(BundleStore(tmp_path / "bundles"), tmp_path / "keys", predictor, plant.process)


def test_a_bundle_reads_back_as_it_was_made_and_says_who_sealed_it(place, trained) -> None:
    made = place.release()
    read = place.sealed()
    assert read == replace(made, released_by="two persons")
    assert (read.process, read.vocabulary) == (place.process, WORDS)
    serving_model = place.loader().refresh()
    assert serving_model.predictor.sha256 == trained.predictor.sha256 == read.manifest.model_sha256
    assert (serving_model.bundle.released_by, serving_model.stale_since_us) == ("two persons", None)
    assert place.tried == [made.sha256]


def test_the_same_version_has_the_same_address_and_is_written_once(place) -> None:
    assert place.write().sha256 == place.write().sha256
    assert len({place.write().sha256, place.write("2").sha256, place.write("1", submission=1).sha256}) == 3
    assert not list(place.store.root.glob(".partial-*"))


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def linked(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target.parent.parent / "elsewhere")
    path.symlink_to(target.parent.parent / "elsewhere")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


FILES = ["predictor/model.0.txt", f"predictor/{PREDICTOR_MANIFEST}", "process.json", "canary.json", MANIFEST]


@pytest.mark.parametrize("damage", [changed, truncated, linked, piped, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_before_anything_is_loaded(place, name, damage) -> None:
    bundle = place.release()
    damage(place.store.root / bundle.sha256 / name)
    with pytest.raises(EngineError, match="no model can be served"):
        place.loader().refresh()
    assert place.tried == []


def test_a_file_more_is_refused(place) -> None:
    bundle = place.release()
    (place.store.root / bundle.sha256 / "predictor" / "more.txt").write_text("x")
    with pytest.raises(EngineError, match=r"predictor/more\.txt was added"):
        place.loader().refresh()


def test_a_folder_that_is_a_link_is_refused(place, tmp_path) -> None:
    bundle = place.release()
    (place.store.root / bundle.sha256).rename(tmp_path / "real")
    (place.store.root / bundle.sha256).symlink_to(tmp_path / "real")
    with pytest.raises(EngineError, match="no model can be served"):
        place.loader().refresh()


def test_a_bundle_under_the_address_of_another_is_refused(place) -> None:
    first, second = place.write(), place.release("2")
    shutil.rmtree(place.store.root / second.sha256)
    shutil.copytree(place.store.root / first.sha256, place.store.root / second.sha256)
    with pytest.raises(EngineError, match="another one's"):
        place.loader().refresh()


def test_a_bundle_that_other_keys_sealed_is_refused(place, tmp_path) -> None:
    make_keys(tmp_path / "others")
    place.release(keys=tmp_path / "others")
    with pytest.raises(EngineError, match="not sealed by trusted keys"):
        place.loader().refresh()


def test_a_seal_of_another_bundle_or_model_is_refused(place) -> None:
    first, second = place.write(), place.release("2")
    place.effective = replace(place.effective, envelope=place.envelope(first, place.keys, {}))
    with pytest.raises(EngineError, match=f"about {first.sha256[:12]}, not about {second.sha256[:12]}"):
        place.loader().refresh()
    for stated in ({"version": "3"}, {"process": "stew"}, {"model_sha256": "0" * 64}):
        place.release("2", stated=stated)
        with pytest.raises(EngineError, match="its seal states another model"):
            place.loader().refresh()


@pytest.mark.parametrize("envelope", ["", "{}", "null"])
def test_a_release_without_an_envelope_is_refused(place, envelope) -> None:
    place.release()
    place.effective = replace(place.effective, envelope=envelope)
    with pytest.raises(EngineError, match="the envelope is not as this software writes it"):
        place.loader().refresh()


def test_without_an_effective_release_nothing_serves(place) -> None:
    place.write()
    loader = place.loader()
    with pytest.raises(EngineError, match="no release is effective"):
        loader.refresh()
    with pytest.raises(EngineError, match="release status"):
        loader.serving_model()


def test_another_effective_release_takes_over_and_a_bad_one_does_not(place) -> None:
    loader, first = place.loader(), place.release()
    assert loader.refresh().bundle.sha256 == first.sha256
    second = place.release("2")
    assert loader.refresh().bundle.sha256 == second.sha256
    third = place.release("3")
    changed(place.store.root / third.sha256 / "predictor/model.0.txt")
    place.now = 1_000
    assert (loader.refresh().bundle.sha256, loader.serving_model().stale_since_us) == (second.sha256, 1_000)
    place.now = 5_000
    assert loader.refresh().stale_since_us == 1_000  # since when, not when it was looked at last
    assert "was changed" in loader.serving_model().stale_because
    shutil.rmtree(place.store.root / third.sha256)
    place.write("3")
    assert (loader.refresh().bundle.sha256, loader.serving_model().stale_since_us) == (third.sha256, None)


def test_after_a_restart_only_the_effective_release_serves(place) -> None:
    place.release()
    place.loader().refresh()
    second = place.release("2")
    truncated(place.store.root / second.sha256 / "predictor/model.0.txt")
    with pytest.raises(EngineError, match="was changed"):
        place.loader().refresh()


def test_what_the_records_call_effective_is_followed_back_as_well(place) -> None:
    loader, first = place.loader(), place.release()
    back = place.effective
    place.release("2")
    loader.refresh()
    place.effective = back
    assert (loader.refresh().bundle.sha256, loader.serving_model().stale_since_us) == (first.sha256, None)


def test_other_feature_code_is_refused(place, monkeypatch) -> None:
    loader = place.loader()
    place.release()
    loader.refresh()
    place.release("2")
    monkeypatch.setattr("serving.bundle.bundle.features_digest", lambda: "0" * 64)
    assert "other feature code" in loader.refresh().stale_because


def test_a_bundle_of_an_earlier_format_is_one_line_that_says_what_to_do(place) -> None:
    bundle = place.write()
    content = bundle.manifest.to_bytes().replace(b'"format":%d' % FORMAT, b'"format":1')
    with pytest.raises(BundleError, match=r"made by another version.*Release the version again"):
        type(bundle.manifest).from_bytes(content)


def test_a_failing_canary_keeps_the_former_release_and_is_tried_again_after_a_while(place) -> None:
    tried = []

    def canary(bundle: Bundle) -> None:
        tried.append(bundle.manifest.version)
        if bundle.manifest.version == "2":
            raise BundleError("the canary died")

    loader = place.loader(canary=canary)
    place.release()
    loader.refresh()
    place.release("2")
    for _ in range(3):
        assert loader.refresh().bundle.manifest.version == "1"
    assert tried == ["1", "2"]
    place.now = RETRY_US
    assert loader.refresh().bundle.manifest.version == "1"
    assert tried == ["1", "2", "2"]


def test_a_full_disk_keeps_the_former_release_only_as_long_as_it_is_full(place) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def cannot(_: Bundle) -> None:
        raise full

    canary = [lambda _: None]
    loader = place.loader(canary=lambda bundle: canary[0](bundle))
    place.release()
    loader.refresh()
    place.release("2")
    canary[0] = cannot
    assert loader.refresh().bundle.manifest.version == "1"
    assert "cannot be tried out: No space left" in loader.serving_model().stale_because
    canary[0] = lambda _: None
    assert loader.refresh().bundle.manifest.version == "2"


@pytest.mark.slow
def test_a_child_process_scores_the_canary_and_dies_instead_of_us(place) -> None:
    bundle = place.write()
    run_canary(bundle)
    other = replace(bundle, files={**bundle.files, "canary.json": b'{"probabilities": [0.5]}'})
    with pytest.raises(BundleError, match="failed: scores"):
        run_canary(other)
    with pytest.raises(BundleError, match="took longer"):
        run_canary(bundle, timeout_s=0.01)


@pytest.mark.slow
def test_a_truncated_model_under_a_good_seal_kills_only_the_child(place, trained, tmp_path, monkeypatch) -> None:
    text = trained.predictor.model_texts[0]
    broken = replace(trained.predictor, model_texts=(text[: len(text) // 2],))
    broken.save(tmp_path / "broken")
    monkeypatch.setattr("serving.bundle.store.canary_of", lambda _: b'{"probabilities": []}')
    place.predictor = tmp_path / "broken"
    bundle = place.write()
    with pytest.raises(BundleError, match="failed"):
        run_canary(bundle)


def test_reading_follows_no_link_out_of_the_folder(tmp_path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="link in the bundle is a link"):
        read_folder(tmp_path / "folder")


@pytest.fixture
def what_is_read(monkeypatch) -> list[str]:
    read, original = [], files._read_plain

    def noted(handle: int, name: str, most_bytes: int) -> bytes:
        read.append(name.removesuffix(" in the bundle"))
        return original(handle, name, most_bytes)

    monkeypatch.setattr(files, "_read_plain", noted)
    return read


def test_nothing_of_a_bundle_is_read_before_its_seal_is_verified(place, what_is_read, tmp_path, monkeypatch) -> None:
    make_keys(tmp_path / "others")
    place.release(keys=tmp_path / "others")
    what_is_read.clear()

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(Predictor, "load", loaded)
    monkeypatch.setattr(Forest, "__init__", loaded)
    with pytest.raises(EnvelopeError, match="not sealed by trusted keys"):
        place.sealed()
    assert what_is_read == []


@pytest.mark.parametrize("name", ["more.bin", ".hidden", "predictor/more.txt", "a/b/c/d"])
@pytest.mark.parametrize("size", [0, 1, 2 << 30])
def test_a_file_that_was_not_sealed_is_refused_and_never_read(place, what_is_read, name, size) -> None:
    bundle = place.release()
    path = place.store.root / bundle.sha256 / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    what_is_read.clear()
    with pytest.raises(BundleError, match="was added"):
        place.sealed()
    assert what_is_read == [MANIFEST]


@pytest.mark.parametrize("name", FILES)
def test_a_sealed_name_with_another_size_is_refused_without_reading_it(place, what_is_read, name) -> None:
    bundle = place.release()
    with (place.store.root / bundle.sha256 / name).open("ab") as file:
        file.truncate(1 << 30)
    what_is_read.clear()
    with pytest.raises(BundleError, match=r"was changed|is larger than"):
        place.sealed()
    assert name == MANIFEST or name not in what_is_read


@pytest.mark.parametrize("name", ["more", "predictor/more", *FILES])
def test_a_pipe_in_the_folder_of_a_bundle_is_refused_and_not_waited_for(place, name) -> None:
    bundle = place.release()
    (place.store.root / bundle.sha256 / name).unlink(missing_ok=True)
    os.mkfifo(place.store.root / bundle.sha256 / name)
    with pytest.raises(BundleError):
        place.sealed()


def test_a_device_in_the_place_of_a_file_is_refused_and_not_read_for_ever(place) -> None:
    bundle = place.release()
    path = place.store.root / bundle.sha256 / "canary.json"
    path.unlink()
    path.symlink_to(Path("/dev/zero"))
    with pytest.raises(BundleError, match="link or no plain file"):
        place.sealed()


def test_a_failing_canary_is_tried_again_after_a_while_though_the_clock_is_set_back(place) -> None:
    tried = []

    def canary(bundle: Bundle) -> None:
        tried.append(bundle.manifest.version)
        if tried == ["1"]:
            raise BundleError("the machine was busy")

    steady = 0
    loader, place.now = place.loader(canary=canary, steady=lambda: steady), 36_000_000_000
    place.release("1")
    with pytest.raises(EngineError, match="the machine was busy"):
        loader.refresh()
    place.now = 0
    steady = RETRY_US
    assert loader.refresh().bundle.manifest.version == "1"
