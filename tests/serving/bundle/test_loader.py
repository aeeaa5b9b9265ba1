"""A bundle speaks only if every byte is what was signed; otherwise the last good one goes on, and says so."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.context import Vocabulary
from features.errors import StorageError
from features.process import ProcessDefinition
from models.folder import MANIFEST as PREDICTOR_MANIFEST
from models.scoring.score import Release
from serving.bundle import files
from serving.bundle.bundle import Bundle
from serving.bundle.canary import run_canary
from serving.bundle.files import read_folder
from serving.bundle.loader import ACCEPTED, RETRY_US, BundleLoader
from serving.bundle.manifest import MANIFEST, SIGNATURE, BundleError, private_key, trusted_keys
from serving.bundle.store import AHEAD_US, POINTER, BundleStore
from serving.interfaces import EngineError

WORDS = Vocabulary(attributes=("a",), materials=("m",), lot_tests=(("p", "m"),), metrics=(("cfu", "A"),))


@dataclass
class Place:
    """A folder of bundles, a key that is trusted, and a clock."""

    store: BundleStore
    predictor: Path
    process: ProcessDefinition
    key: Ed25519PrivateKey
    now: int = 0
    tried: list[str] = field(default_factory=list)

    def export(self, version: str = "1", *, released_us: int = 10, key: Ed25519PrivateKey | None = None) -> Bundle:
        release = Release("soup", version)
        return self.store.export(
            self.predictor, release, self.process, WORDS, key or self.key, released_us=released_us
        )  # fmt: skip

    def loader(self, **more) -> BundleLoader:
        given: dict = {
            "clock": lambda: self.now,
            "steady": lambda: self.now,
            "canary": lambda bundle: self.tried.append(bundle.sha256),
        } | more
        return BundleLoader(self.store, (self.key.public_key(),), **given)


@pytest.fixture(scope="module")
def predictor(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predictor")
    trained.predictor.save(folder)
    return folder


@pytest.fixture
def place(tmp_path, predictor, plant) -> Place:
    return Place(BundleStore(tmp_path / "bundles"), predictor, plant.process, Ed25519PrivateKey.generate())


def test_a_bundle_reads_back_as_it_was_made(place, trained) -> None:
    made = place.export()
    read = place.store.read(place.store.pointed(), [place.key.public_key()])
    assert read == made
    assert (read.process, read.vocabulary) == (place.process, WORDS)
    serving_model = place.loader().refresh()
    assert serving_model.predictor.sha256 == trained.predictor.sha256 == read.manifest.model_sha256
    assert (serving_model.bundle.manifest.review, serving_model.stale_since_us) == ("unreviewed", None)
    assert place.tried == [made.sha256]


def test_the_same_release_has_the_same_address_and_is_written_once(place) -> None:
    assert place.export().sha256 == place.export().sha256
    assert place.export(released_us=11).sha256 != place.export().sha256
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


FILES = ["predictor/model.0.txt", f"predictor/{PREDICTOR_MANIFEST}", "process.json", "canary.json", MANIFEST, SIGNATURE]


@pytest.mark.parametrize("damage", [changed, truncated, linked, piped, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_before_anything_is_loaded(place, name, damage) -> None:
    bundle = place.export()
    damage(place.store.root / bundle.sha256 / name)
    with pytest.raises(EngineError, match="no model can be served"):
        place.loader().refresh()
    assert place.tried == []


def test_a_file_more_is_refused(place) -> None:
    bundle = place.export()
    (place.store.root / bundle.sha256 / "predictor" / "more.txt").write_text("x")
    with pytest.raises(EngineError, match=r"predictor/more\.txt was added"):
        place.loader().refresh()


def test_a_folder_that_is_a_link_is_refused(place, tmp_path) -> None:
    bundle = place.export()
    (place.store.root / bundle.sha256).rename(tmp_path / "real")
    (place.store.root / bundle.sha256).symlink_to(tmp_path / "real")
    with pytest.raises(EngineError, match="no model can be served"):
        place.loader().refresh()


def test_a_pointer_that_is_a_link_or_no_digest_is_refused(place) -> None:
    place.export()
    pointer = place.store.root / POINTER
    for text in ("", "x" * 64, "../" * 21 + "a"):
        pointer.write_text(text)
        with pytest.raises(BundleError, match="names no bundle"):
            place.store.pointed()
    pointer.rename(pointer.with_name("real"))
    pointer.symlink_to(pointer.with_name("real"))
    with pytest.raises(BundleError, match="is a link"):
        place.store.pointed()


def test_a_bundle_under_the_address_of_another_is_refused(place) -> None:
    first, second = place.export(), place.export("2", released_us=11)
    shutil.rmtree(place.store.root / second.sha256)
    shutil.copytree(place.store.root / first.sha256, place.store.root / second.sha256)
    with pytest.raises(EngineError, match="another one's"):
        place.loader().refresh()


def test_a_bundle_that_nobody_trusted_has_signed_is_refused(place) -> None:
    place.export(key=Ed25519PrivateKey.generate())
    with pytest.raises(EngineError, match="no trusted key"):
        place.loader().refresh()


def test_a_new_release_takes_over_and_a_bad_one_does_not(place) -> None:
    loader, first = place.loader(), place.export()
    assert loader.refresh().bundle.sha256 == first.sha256
    second = place.export("2", released_us=20)
    assert loader.refresh().bundle.sha256 == second.sha256
    third = place.export("3", released_us=30)
    changed(place.store.root / third.sha256 / "predictor/model.0.txt")
    place.now = 1_000
    assert (loader.refresh().bundle.sha256, loader.serving_model().stale_since_us) == (second.sha256, 1_000)
    place.now = 5_000
    assert loader.refresh().stale_since_us == 1_000  # since when, not when it was looked at last
    assert "was changed" in loader.serving_model().stale_because
    shutil.rmtree(place.store.root / third.sha256)
    place.export("3", released_us=30)
    assert (loader.refresh().bundle.sha256, loader.serving_model().stale_since_us) == (third.sha256, None)


def test_after_a_restart_the_last_good_release_goes_on(place) -> None:
    first = place.export()
    place.loader().refresh()
    second = place.export("2", released_us=20)
    truncated(place.store.root / second.sha256 / "predictor/model.0.txt")
    place.now = 7
    serving_model = place.loader().refresh()
    assert (serving_model.bundle.sha256, serving_model.stale_since_us) == (first.sha256, 7)


def test_an_earlier_release_under_the_pointer_is_a_downgrade_also_after_a_restart(place) -> None:
    first, loader = place.export(), place.loader()
    second = place.export("2", released_us=20)
    loader.refresh()
    (place.store.root / POINTER).write_text(first.sha256)
    for each in (loader, place.loader()):
        serving_model = each.refresh()
        assert serving_model.bundle.sha256 == second.sha256
        assert "released before the one that was used last" in serving_model.stale_because


def test_to_go_back_is_a_release_of_its_own(place) -> None:
    loader = place.loader()
    place.export("1", released_us=10)
    place.export("2", released_us=20)
    loader.refresh()
    place.export("1", released_us=30)
    assert loader.refresh().bundle.manifest.version == "1"
    assert loader.serving_model().stale_since_us is None


def test_other_feature_code_is_refused(place, monkeypatch) -> None:
    loader = place.loader()
    place.export()
    loader.refresh()
    monkeypatch.setattr("serving.bundle.loader.features_digest", lambda: "0" * 64)
    place.export("2", released_us=20)
    assert "other feature code" in loader.refresh().stale_because


def test_a_failing_canary_keeps_the_former_release_and_is_tried_again_after_a_while(place) -> None:
    tried = []

    def canary(bundle: Bundle) -> None:
        tried.append(bundle.manifest.version)
        if bundle.manifest.version == "2":
            raise BundleError("the canary died")

    loader = place.loader(canary=canary)
    place.export()
    loader.refresh()
    place.export("2", released_us=20)
    for _ in range(3):
        assert loader.refresh().bundle.manifest.version == "1"
    assert tried == ["1", "2"]
    place.now = RETRY_US
    assert loader.refresh().bundle.manifest.version == "1"
    assert tried == ["1", "2", "2"]


def test_a_full_disk_keeps_the_former_release_only_as_long_as_it_is_full(place, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def cannot(*_: object) -> None:
        raise full

    canary = [lambda _: None]
    loader = place.loader(canary=lambda bundle: canary[0](bundle))
    place.export()
    loader.refresh()
    place.export("2", released_us=20)
    canary[0] = cannot
    assert loader.refresh().bundle.manifest.version == "1"
    assert "cannot be tried out: No space left" in loader.serving_model().stale_because
    canary[0] = lambda _: None
    monkeypatch.setattr("serving.bundle.loader.replace_file", cannot)
    assert loader.refresh().bundle.manifest.version == "1"
    assert "cannot be noted as used: No space left" in loader.serving_model().stale_because
    assert place.loader().refresh().bundle.manifest.version == "1"  # a restart on a full disk
    monkeypatch.undo()
    assert loader.refresh().bundle.manifest.version == "2"


def test_a_running_keeper_goes_to_no_older_release_whatever_happens_to_the_folder(place, tmp_path) -> None:
    place.export()
    shutil.copytree(place.store.root, tmp_path / "before")
    place.export("2", released_us=20)
    loader = place.loader()
    loader.refresh()
    shutil.rmtree(place.store.root)
    assert loader.refresh().bundle.manifest.version == "2"
    shutil.copytree(tmp_path / "before", place.store.root)
    assert loader.refresh().bundle.manifest.version == "2"
    assert "released before" in loader.serving_model().stale_because


@pytest.mark.parametrize("content", ["", "[]", '{"sha256": 1}', '{"sha256": "x", "released_us": "soon"}'])
def test_a_note_of_the_last_release_that_cannot_be_read_is_none(place, content) -> None:
    bundle = place.export()
    (place.store.root / ACCEPTED).write_text(content)
    assert place.loader().refresh().bundle.sha256 == bundle.sha256


def test_without_any_bundle_there_is_nobody_to_speak(place) -> None:
    loader = place.loader()
    with pytest.raises(EngineError, match="no model can be served"):
        loader.refresh()
    with pytest.raises(EngineError):
        loader.serving_model()


@pytest.mark.slow
def test_a_child_process_scores_the_canary_and_dies_instead_of_us(place) -> None:
    bundle = place.export()
    run_canary(bundle)
    other = replace(bundle, files={**bundle.files, "canary.json": b'{"probabilities": [0.5]}'})
    with pytest.raises(BundleError, match="failed: scores"):
        run_canary(other)
    with pytest.raises(BundleError, match="took longer"):
        run_canary(bundle, timeout_s=0.01)


@pytest.mark.slow
def test_a_truncated_model_under_a_good_signature_kills_only_the_child(place, trained, tmp_path, monkeypatch) -> None:
    text = trained.predictor.model_texts[0]
    broken = replace(trained.predictor, model_texts=(text[: len(text) // 2],))
    broken.save(tmp_path / "broken")
    monkeypatch.setattr("serving.bundle.store.canary_of", lambda _: b'{"probabilities": []}')
    place.predictor = tmp_path / "broken"
    bundle = place.export()
    with pytest.raises(BundleError, match="failed"):
        run_canary(bundle)


def test_a_private_key_is_made_once_for_its_owner_alone(tmp_path) -> None:
    path = tmp_path / "keys" / "local.pem"
    key = private_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert private_key(path).private_bytes_raw() == key.private_bytes_raw()
    assert [k.public_bytes_raw() for k in trusted_keys(tmp_path / "keys")] == [key.public_key().public_bytes_raw()]
    path.chmod(0o644)
    with pytest.raises(StorageError, match="others may read"):
        private_key(path)
    (tmp_path / "none").mkdir()
    with pytest.raises(StorageError, match="no trusted key"):
        trusted_keys(tmp_path / "none")


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


def test_nothing_but_manifest_and_signature_is_read_before_the_signature_is_verified(place, what_is_read) -> None:
    bundle = place.export(key=Ed25519PrivateKey.generate())
    with (place.store.root / bundle.sha256 / "more.bin").open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(BundleError, match="no trusted key"):
        place.store.read(bundle.sha256, [place.key.public_key()])
    assert what_is_read[-2:] == [MANIFEST, SIGNATURE]
    assert not {"more.bin", "canary.json", "predictor/model.0.txt"} & set(what_is_read)


@pytest.mark.parametrize("name", ["more.bin", ".hidden", "predictor/more.txt", "a/b/c/d"])
@pytest.mark.parametrize("size", [0, 1, 2 << 30])
def test_a_file_that_was_not_signed_is_refused_and_never_read(place, what_is_read, name, size) -> None:
    bundle = place.export()
    path = place.store.root / bundle.sha256 / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    what_is_read.clear()
    with pytest.raises(BundleError, match="was added"):
        place.store.read(bundle.sha256, [place.key.public_key()])
    assert what_is_read == [MANIFEST, SIGNATURE]


@pytest.mark.parametrize("name", FILES)
def test_a_signed_name_with_another_size_is_refused_without_reading_it(place, what_is_read, name) -> None:
    bundle = place.export()
    with (place.store.root / bundle.sha256 / name).open("ab") as file:
        file.truncate(1 << 30)
    what_is_read.clear()
    with pytest.raises(BundleError, match=r"was changed|is larger than"):
        place.store.read(bundle.sha256, [place.key.public_key()])
    assert name in (MANIFEST, SIGNATURE) or name not in what_is_read


@pytest.mark.parametrize("name", ["more", "predictor/more", *FILES])
def test_a_pipe_in_the_folder_of_a_bundle_is_refused_and_not_waited_for(place, name) -> None:
    bundle = place.export()
    (place.store.root / bundle.sha256 / name).unlink(missing_ok=True)
    os.mkfifo(place.store.root / bundle.sha256 / name)
    with pytest.raises(BundleError):
        place.store.read(bundle.sha256, [place.key.public_key()])


def test_a_pipe_in_the_place_of_pointer_note_or_key_is_refused_and_not_waited_for(place, tmp_path) -> None:
    first, pointer, note = place.export(), place.store.root / POINTER, place.store.root / ACCEPTED
    loader = place.loader()
    os.mkfifo(note)
    assert loader.refresh().bundle.sha256 == first.sha256  # it takes the place of what is no note
    assert '"former"' in note.read_text()
    pointer.unlink()
    os.mkfifo(pointer)
    with pytest.raises(BundleError, match="no plain file"):
        place.store.pointed()
    assert "no plain file" in loader.refresh().stale_because
    for name in ("k.pub", "k.pem"):
        os.mkfifo(tmp_path / name, 0o600)
    with pytest.raises(StorageError, match="not an Ed25519 public key"):
        trusted_keys(tmp_path)
    with pytest.raises(StorageError, match="not an Ed25519 private key"):
        private_key(tmp_path / "k.pem")


def test_a_device_in_the_place_of_a_pointer_or_a_file_is_refused_and_not_read_for_ever(place) -> None:
    bundle, zeros = place.export(), Path("/dev/zero")
    (place.store.root / ACCEPTED).symlink_to(zeros)
    assert place.loader().refresh().bundle.sha256 == bundle.sha256
    (place.store.root / POINTER).unlink()
    (place.store.root / POINTER).symlink_to(zeros)
    with pytest.raises(BundleError, match="is a link"):
        place.store.pointed()
    path = place.store.root / bundle.sha256 / "canary.json"
    path.unlink()
    path.symlink_to(zeros)
    with pytest.raises(BundleError, match="link or no plain file"):
        place.store.read(bundle.sha256, [place.key.public_key()])


HOUR_US = 3_600_000_000


def test_a_release_that_is_signed_ahead_of_time_is_not_used_and_blocks_no_later_one(place) -> None:
    loader, place.now = place.loader(), 10 * HOUR_US
    place.export("1", released_us=place.now)
    loader.refresh()
    place.export("2", released_us=place.now + HOUR_US)
    assert loader.refresh().bundle.manifest.version == "1"
    assert "which lies ahead" in loader.serving_model().stale_because
    place.now += 1_000_000
    place.export("3", released_us=place.now)
    for each in (loader, place.loader()):
        assert (each.refresh().bundle.manifest.version, each.serving_model().stale_since_us) == ("3", None)


def test_clocks_of_two_machines_may_differ_by_minutes(place) -> None:
    loader, place.now = place.loader(), 10 * HOUR_US
    place.export("1", released_us=place.now + AHEAD_US - 1)
    assert loader.refresh().bundle.manifest.version == "1"
    second = place.export("2", released_us=place.now)  # exported a little later by the clock that is behind
    assert second.manifest.released_us == place.now + AHEAD_US
    assert loader.refresh().bundle.manifest.version == "2"


def test_a_release_that_was_used_ahead_of_time_blocks_no_later_one(place) -> None:
    """An earlier version of the software used it, or the clock was ahead and was put right."""
    first = place.export("1", released_us=100 * HOUR_US)
    noted = f'{{"sha256": "{first.sha256}", "released_us": {100 * HOUR_US}}}'
    (place.store.root / ACCEPTED).write_text(noted)
    place.now = 10 * HOUR_US
    assert place.loader().refresh().bundle.manifest.version == "1"
    place.export("2", released_us=place.now)
    loader = place.loader()
    assert (loader.refresh().bundle.manifest.version, loader.serving_model().stale_since_us) == ("2", None)


@pytest.mark.parametrize("step_us", [-HOUR_US, HOUR_US])
def test_releases_go_on_after_a_step_of_the_clock_and_none_comes_back(place, step_us) -> None:
    loader, place.now = place.loader(), 10 * HOUR_US
    first = place.export("1", released_us=place.now)
    loader.refresh()
    place.now += step_us
    assert loader.refresh().stale_since_us is None
    assert place.loader().refresh().bundle.manifest.version == "1"  # also after a restart
    place.export("2", released_us=place.now)
    assert loader.refresh().bundle.manifest.version == "2"
    place.now -= step_us
    (place.store.root / POINTER).write_text(first.sha256)
    for each in (loader, place.loader()):
        assert each.refresh().bundle.manifest.version == "2"
        assert "released before the one that was used last" in each.serving_model().stale_because


def test_a_failing_canary_is_tried_again_after_a_while_though_the_clock_is_set_back(place) -> None:
    tried = []

    def canary(bundle: Bundle) -> None:
        tried.append(bundle.manifest.version)
        if tried == ["1"]:
            raise BundleError("the machine was busy")

    steady = 0
    loader, place.now = place.loader(canary=canary, steady=lambda: steady), 10 * HOUR_US
    place.export("1", released_us=place.now)
    with pytest.raises(EngineError, match="the machine was busy"):
        loader.refresh()
    place.now -= HOUR_US
    steady = RETRY_US
    place.now += AHEAD_US * 12  # the clock is right again, so that the release does not lie ahead
    assert loader.refresh().bundle.manifest.version == "1"
