from dataclasses import replace

import pytest
from sqlalchemy import select, update

from serving.access.key_ring import KeyRing, KeysBusyError, VerificationLane
from serving.access.keys import add_key, list_keys, revoke_key
from serving.access.principals import OF_PERSONS, AccessError, Principal, UnauthenticatedError
from serving.audit import chain, verification
from serving.audit.chain import Actor
from serving.ids import now_us
from serving.records.store import RecordsUnavailableError
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
    assert key_id not in key  # records name the id: it helps nobody to present keys
    secret = key[-43:]
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


def later(*_) -> None:
    """A background that never gets to it."""


def test_the_list_of_keys_is_read_anew_while_the_former_one_serves(records, monkeypatch) -> None:
    steady, started = 0, []
    ring = KeyRing(records, steady=lambda: steady, background=started.append)
    key_id, key = add(records)
    ring.principal(key)
    steady = 499_999
    ring.principal(key)
    assert started == []
    revoke_key(records, key_id, why="lost", actor=ADMIN)
    steady = 500_000
    with monkeypatch.context() as closed:
        closed.setattr(records, "read", lambda: pytest.fail("a request reads the list"))
        for _ in range(3):
            assert ring.principal(key).name == "MES"  # half a second old, and revoked just now
    assert len(started) == 1  # one reading, however many ask
    started[0]()
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.principal(key)
    steady = 1_000_000
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.principal(key)
    assert len(started) == 2  # the next half second


def test_a_revoked_key_is_refused_within_a_second_though_the_background_never_gets_to_it(records) -> None:
    steady = 0
    ring = KeyRing(records, steady=lambda: steady, background=later)
    key_id, key = add(records)
    ring.principal(key)
    revoke_key(records, key_id, why="lost", actor=ADMIN)
    steady = 999_999
    assert not ring.is_cached(key)  # the last moments are not left to the event loop, which must not wait
    assert ring.principal(key).name == "MES"
    steady = 1_000_000
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.principal(key)


def test_records_that_cannot_be_read_in_the_background_are_read_again_by_the_next_request(records, monkeypatch) -> None:
    steady = 0
    ring = KeyRing(records, steady=lambda: steady, background=lambda step: step())
    _, key = add(records)
    ring.principal(key)

    def away() -> None:
        raise RecordsUnavailableError("away")

    with monkeypatch.context() as broken:
        broken.setattr(records, "read", away)
        steady = 500_000
        assert ring.principal(key).name == "MES"
        steady = 1_000_000
        with pytest.raises(RecordsUnavailableError):
            ring.principal(key)
    assert ring.principal(key).name == "MES"
    steady = 1_500_000
    revoke_key(records, list_keys(records)[0].key_id, why="lost", actor=ADMIN)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.principal(key)  # the background reads again after a failure, too


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
    monkeypatch.setattr("serving.access.secrets.matches", lambda *_: pytest.fail("verified again"))
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


def other_secret(key: str, number: int = 0) -> str:
    """A key of the same lookup with another secret."""
    return f"{key[:16]}{number:043d}"


def of_an_earlier_version(records) -> tuple[str, str]:
    """A key as 0.2.0 kept it: found by its id, without a tag."""
    key_id, key = add(records)
    with records.write() as (connection, _):
        kept = connection.execute(select(api_keys.c.secret_hash).where(api_keys.c.key_id == key_id)).scalar_one()
        own = update(api_keys).where(api_keys.c.key_id == key_id)
        connection.execute(own.values(secret_hash=kept.split(";")[0]))
    return key_id, f"bg_{key_id}_{key[-43:]}"


def test_a_wrong_secret_is_refused_without_argon2(records, monkeypatch) -> None:
    _, key = add(records)
    ring = KeyRing(records)
    ring.principal(key)
    _, old = of_an_earlier_version(records)
    verified = KeyRing(records)
    assert verified.principal(old).name == "MES"  # from now on every other secret for it is wrong
    monkeypatch.setattr("serving.access.secrets.matches", lambda *_: pytest.fail("verified"))
    fresh = KeyRing(records)
    with pytest.raises(UnauthenticatedError):
        fresh.principal(other_secret(key))  # by its tag, before the right one was ever presented
    for number in range(5_000):
        for known in (key, old):
            assert verified.is_cached(other_secret(old, number))
            with pytest.raises(UnauthenticatedError):
                verified.principal(other_secret(known, number))
    assert verified.principal(old).name == "MES"  # nothing evicts a verified key


def test_few_keys_are_verified_at_once_and_fewer_of_one_id(records) -> None:
    _, old = of_an_earlier_version(records)
    _, key = add(records)
    lane = VerificationLane(places=3, places_of_a_key=1)
    ring = KeyRing(records, lane=lane)
    with lane.place(old[3:15]):
        with pytest.raises(KeysBusyError, match="Try again in a second"):
            ring.principal(other_secret(old))  # not said to be wrong: nobody looked
        with pytest.raises(UnauthenticatedError):
            ring.principal(other_secret(key))  # needs no place
    assert ring.principal(old).name == "MES"
    assert ring.principal(key).name == "MES"


def test_a_key_that_was_found_is_revoked_by_what_is_seen_of_it(records) -> None:
    (_, key), (old_id, old) = add(records), of_an_earlier_version(records)
    revoke_key(records, key[:15], why="found in a log", actor=ADMIN)
    revoke_key(records, old, why="found in a log", actor=ADMIN)
    for known in (key, old):
        with pytest.raises(UnauthenticatedError, match="revoked"):
            KeyRing(records).principal(known)
    assert old_id in {record.key_id for record in list_keys(records) if record.revoked_us}


def test_a_person_has_the_same_subject_with_every_key_and_a_service_has_none(records) -> None:
    of_person = {"kind": "person", "role": "approver", "subject": "anna.weiss"}
    keys = [add(records, name=name, **of_person)[1] for name in ("Anna", "Anna, on call")]
    found = [KeyRing(records).principal(key) for key in keys]
    assert [person.subject for person in found] == ["anna.weiss"] * 2
    assert found[0].id != found[1].id
    assert KeyRing(records).principal(add(records)[1]).subject is None
    with pytest.raises(AccessError, match="a service has no subject"):
        add(records, subject="robot")
    for wrong in ("", " ", "a b", "x" * 151, "a\n"):
        with pytest.raises(AccessError, match="subject"):
            add(records, **of_person | {"subject": wrong})
    assert verification.verify(records, None).problems == ()


def test_a_service_has_no_permission_of_persons() -> None:
    robot = Principal("key:r", "Robot", "service", "approver", frozenset({"*"}))
    assert not any(robot.may(permission) for permission in OF_PERSONS)
    assert replace(robot, kind="person").may("approve_release")
