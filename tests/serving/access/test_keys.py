import pytest
from sqlalchemy import select

from serving.access.keys import add_key, list_keys, revoke_key
from serving.access.principals import AccessError, KeyRing, UnauthenticatedError
from serving.audit import chain
from serving.audit.chain import Actor
from serving.ids import now_us
from serving.records.tables import api_keys

ADMIN = Actor("cli:root", "admin", "cli")


def add(records, **more) -> tuple[str, str]:
    given: dict = {"name": "MES", "kind": "service", "role": "mes", "sites": ["north"], "expires_us": None} | more
    return add_key(records, **given, actor=ADMIN)


def test_a_key_speaks_for_its_role_and_sites(records) -> None:
    key_id, key = add(records)
    found = KeyRing(records).principal(key)
    assert (found.id, found.role, found.sites, found.kind) == (f"key:{key_id}", "mes", frozenset({"north"}), "service")


def test_the_secret_is_nowhere(records) -> None:
    key_id, key = add(records)
    secret = key.removeprefix(f"bg_{key_id}_")
    with records.read() as connection:
        row = connection.execute(select(api_keys)).one()
        entries = str(list(chain.entries(connection)))
    assert row.secret_hash.startswith("$argon2id$")
    assert secret not in str(row) + entries + str(list_keys(records))
    assert row.secret_hash not in entries + str(list_keys(records))


def test_a_revoked_key_is_refused_within_a_second(records) -> None:
    steady = 0
    ring = KeyRing(records, steady=lambda: steady)
    key_id, key = add(records)
    ring.principal(key)
    revoke_key(records, key_id, why="lost", actor=ADMIN)
    steady += 1_000_000
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.principal(key)


@pytest.mark.parametrize("step_us", [-3600 * 1_000_000, 3600 * 1_000_000, -365 * 86_400 * 1_000_000])
def test_a_revoked_key_is_refused_within_a_second_whatever_the_clock_does(records, step_us) -> None:
    wall, steady = now_us(), 0
    ring = KeyRing(records, lambda: wall, lambda: steady)
    key_id, key = add(records)
    ring.principal(key)
    revoke_key(records, key_id, why="lost", actor=ADMIN)
    wall += step_us
    steady += 1_000_000
    assert not ring.is_cached(key)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.principal(key)


def test_an_expired_key_is_not_revived_by_a_clock_that_is_set_back(records) -> None:
    hour_us, steady = 3600 * 1_000_000, 0
    wall = now_us()
    _, key = add(records, expires_us=wall + hour_us)
    ring = KeyRing(records, lambda: wall, lambda: steady)
    assert ring.principal(key).name == "MES"
    wall += 10_000_000 - hour_us  # ten seconds pass, and the clock is set back by an hour
    steady += 10_000_000
    assert ring.principal(key).name == "MES"
    wall, steady = wall + hour_us, steady + hour_us  # the key's hour is over, though the clock does not say so
    with pytest.raises(UnauthenticatedError, match="expired"):
        ring.principal(key)


def test_keys_are_listed_in_the_order_in_which_they_were_made_also_by_a_clock_that_is_set_back(
    records, monkeypatch
) -> None:
    made = []
    for hour in (12, 11, 13, 10):
        monkeypatch.setattr("serving.access.keys.now_us", lambda hour=hour: hour * 3600 * 1_000_000)
        made.append(add(records, name=f"at {hour}")[0])
    assert [key.key_id for key in list_keys(records)] == made


def test_an_expired_key_is_refused(records) -> None:
    _, key = add(records, expires_us=now_us() - 1)
    with pytest.raises(UnauthenticatedError, match="expired"):
        KeyRing(records).principal(key)


def test_wrong_keys_are_all_refused_alike(records) -> None:
    _, key = add(records)
    ring = KeyRing(records)
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    for other in (wrong, wrong, f"bg_{'0' * 12}_{key[-43:]}", "bg_", "", key + "x", "bg_\ud800"):
        with pytest.raises(UnauthenticatedError, match="the key is not known"):
            ring.principal(other)
    assert ring.principal(key).name == "MES"


def test_a_key_is_verified_once_and_remembered(records, monkeypatch) -> None:
    _, key = add(records)
    ring = KeyRing(records)
    assert not ring.is_cached(key)
    first = ring.principal(key)
    monkeypatch.setattr("serving.access.principals._verifies", lambda *_: pytest.fail("verified again"))
    assert ring.is_cached(key)
    assert ring.principal(key) == first


@pytest.mark.parametrize("role", ["reviewer", "approver", "admin"])
def test_a_service_never_gets_a_role_that_decides(records, role) -> None:
    with pytest.raises(AccessError, match="person"):
        add(records, role=role)
    key_id, _ = add(records, role=role, kind="person")
    assert [key.key_id for key in list_keys(records)] == [key_id]


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "boss"},
        {"kind": "robot"},
        {"sites": []},
        {"sites": [""]},
        {"sites": ["no rth"]},
        {"name": " "},
        {"name": "a\nb"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(records, wrong) -> None:
    with pytest.raises(AccessError):
        add(records, **wrong)
    assert list_keys(records) == []


def test_revoking_is_told_once(records) -> None:
    key_id, _ = add(records)
    revoke_key(records, key_id, why="lost", actor=ADMIN)
    for wrong in (key_id, "nothing"):
        with pytest.raises(AccessError):
            revoke_key(records, wrong, why="again", actor=ADMIN)
    with records.read() as connection:
        assert [(e.action, e.who, e.why) for e in chain.entries(connection)] == [
            ("key_added", "cli:root", ""),
            ("key_revoked", "cli:root", "lost"),
        ]


def test_nothing_is_revoked_without_a_reason(records) -> None:
    key_id, key = add(records)
    with pytest.raises(AccessError, match="for a reason"):
        revoke_key(records, key_id, why=" ", actor=ADMIN)
    assert KeyRing(records).principal(key).name == "MES"
