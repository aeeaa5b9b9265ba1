import os
import shutil

import pytest

from features.errors import StorageError
from serving.release.site_keys import KEY_ROLES, make_keys, signing_key, trusted_keys
from serving.release.states import ReleaseError


def test_keys_are_made_once_for_their_owner_alone_and_their_public_halves_are_trusted(tmp_path) -> None:
    made = make_keys(tmp_path / "keys")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "approver.pem", "approver.pub", "author.pem", "author.pub",
    ]  # fmt: skip
    assert {(tmp_path / "keys" / f"{role}.pem").stat().st_mode & 0o777 for role in KEY_ROLES} == {0o600}
    [trusted] = trusted_keys(tmp_path / "keys")
    assert (list(trusted.author), list(trusted.approver)) == ([made["author"]], [made["approver"]])
    assert signing_key(tmp_path / "keys", "author").key_id == made["author"]
    with pytest.raises(ReleaseError, match=r"author\.pem exists"):
        make_keys(tmp_path / "keys")
    assert signing_key(tmp_path / "keys", "author").key_id == made["author"]


def test_demo_keys_are_a_kind_of_their_own(tmp_path) -> None:
    make_keys(tmp_path)
    make_keys(tmp_path, "demo")
    site, demo = trusted_keys(tmp_path)
    assert (site.kind, demo.kind) == ("site", "demo")
    assert not set(site.author) & set(demo.author)
    assert signing_key(tmp_path, "approver", "demo").key_id in demo.approver


def test_a_former_public_key_stays_trusted_under_another_name(tmp_path) -> None:
    former = make_keys(tmp_path)["author"]
    (tmp_path / "author.pub").rename(tmp_path / "author-2026.pub")
    (tmp_path / "author.pem").unlink()
    shutil.move(tmp_path / "approver.pem", tmp_path / "kept.pem")
    (tmp_path / "approver.pub").rename(tmp_path / "approver-2026.pub")
    now = make_keys(tmp_path)["author"]
    [trusted] = trusted_keys(tmp_path)
    assert set(trusted.author) == {former, now}


def test_a_key_that_others_may_read_is_not_used(tmp_path) -> None:
    make_keys(tmp_path)
    (tmp_path / "author.pem").chmod(0o644)
    with pytest.raises(StorageError, match="others may read"):
        signing_key(tmp_path, "author")
    (tmp_path / "author.pem").unlink()
    with pytest.raises(StorageError, match="init-keys"):
        signing_key(tmp_path, "author")


def test_one_public_key_without_the_other_role_is_not_enough(tmp_path) -> None:
    make_keys(tmp_path)
    (tmp_path / "approver.pub").unlink()
    with pytest.raises(StorageError, match="no trusted keys of author and approver"):
        trusted_keys(tmp_path)


@pytest.mark.parametrize("name", ["author.pub", "author.pem"])
def test_a_pipe_in_the_place_of_a_key_is_refused_and_not_waited_for(tmp_path, name) -> None:
    make_keys(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name, 0o600)
    with pytest.raises(StorageError, match="not an Ed25519"):
        trusted_keys(tmp_path) if name.endswith("pub") else signing_key(tmp_path, "author")
