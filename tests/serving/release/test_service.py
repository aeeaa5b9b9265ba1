"""Two persons release a version; everything else is refused in one line and leaves the records as they were."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Never

import orjson
import pytest
from sqlalchemy import func, select

from features.errors import BatchguardError
from serving.access.principals import AccessError, ForbiddenError, UnauthenticatedError
from serving.audit import chain, verification
from serving.bundle.manifest import BundleError
from serving.records.tables import release_actions
from serving.release.dsse import EnvelopeError, envelope_of
from serving.release.history import envelope_of_release
from serving.release.site_keys import make_keys, trusted_keys
from serving.release.states import ReleaseError
from serving.release.verification import verify_seal
from tests.serving.releases import EVIDENCE, by
from tests.serving.services import NOON


def actions(office) -> list[tuple[str, str, str]]:
    with office.records.read() as connection:
        found = connection.execute(select(release_actions).order_by(release_actions.c.seq)).mappings()
        return [(row["version"], row["action"], row["state"]) for row in found]


def n_rows(office) -> int:
    with office.records.read() as connection:
        return connection.execute(select(func.count()).select_from(release_actions)).scalar_one()


def test_a_version_goes_from_draft_to_effective_by_two_persons(office) -> None:
    submitted = office.submit()
    assert submitted.state == "tested"
    approved = office.service.approve(submitted.release_id, by("boris", "figures read"))
    assert approved.state == "approved"
    made = office.service.make_effective(submitted.release_id, by("clara", "from Monday on", deviation="CAPA-7"))
    assert (made.state, office.service.effective().release_id) == ("effective", submitted.release_id)
    assert office.tried == ["1"]
    assert [(a["subject"], a["signer_name"], a["meaning"], a["reason"], a["deviation"]) for a in made.actions] == [
        ("anna", "Anna Weiss", "responsibility", "reviewed", None),
        ("boris", "Boris Kern", "approval", "figures read", None),
        ("clara", "Clara Ott", "approval", "from Monday on", "CAPA-7"),
    ]
    assert {a["signed_with"] for a in made.actions} == {"id and key"}
    assert {(a["at_us"], bool(a["zone"])) for a in made.actions} == {(NOON, True)}
    assert verification.verify(office.records, None).problems == ()


def test_the_seal_states_the_bundle_and_what_the_release_rests_on(office) -> None:
    release_id = office.effective("1")
    with office.records.read() as connection:
        text = envelope_of_release(connection, release_id)
    seal = verify_seal(text, release_id, trusted_keys(office.keys))
    stated = seal.statement.predicate
    assert seal.released_by == "two persons"
    assert (stated.process, stated.version, stated.author.subject) == ("soup", "1", "anna")
    assert stated.model_sha256 == office.plant.predictor.sha256
    assert {name: getattr(stated, name) for name in vars(EVIDENCE)} == vars(EVIDENCE)
    assert office.service.store.sealed(release_id, text, trusted_keys(office.keys)).manifest.version == "1"


def test_each_step_is_an_entry_with_the_state_before_it(office) -> None:
    release_id = office.effective("1")
    with office.records.read() as connection:
        entries = chain.history(connection, f"release:{release_id}")
    assert [(e.who, e.role, e.action, orjson.loads(e.old or "")["state"]) for e in entries] == [
        ("key:a1", "reviewer", "release", "draft"), ("key:b1", "approver", "release", "tested"),
        ("key:b1", "approver", "release", "approved"),
    ]  # fmt: skip


def test_the_author_cannot_approve_with_another_key_either(office) -> None:
    release_id = office.submit().release_id
    with pytest.raises(ForbiddenError, match="role reviewer"):
        office.service.approve(release_id, by("anna"))
    with pytest.raises(ReleaseError, match="anna submitted this release and cannot approve it"):
        office.service.approve(release_id, by("anna too"))
    assert (office.service.status(release_id).state, n_rows(office)) == ("tested", 1)
    with office.records.read() as connection:
        refused = [e.why for e in chain.history(connection, f"release:{release_id}") if e.action == "signature_refused"]
    assert refused[1] == "anna submitted this release and cannot approve it"


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (by("robot"), ForbiddenError, "a service never signs"),
        (by("unbound"), ForbiddenError, "key:u1 has no subject"),
        (by("viewer"), ForbiddenError, "role viewer"),
        (by("nobody"), UnauthenticatedError, "the key is not known"),
        (by("anna", signer="boris"), AccessError, "names its signer|signer is somebody else"),
        (by("anna", signer=""), AccessError, "signer is somebody else"),
        (replace(by("anna"), secret=""), UnauthenticatedError, "needs your secret again"),
        (by("anna", reason=" "), ReleaseError, "needs a reason"),
        (by("anna", deviation=""), ReleaseError, "deviation"),
    ],
)
def test_who_cannot_sign_submits_nothing(office, request_, error, said) -> None:
    with pytest.raises(error, match=said):
        office.submit(request=request_)
    assert (n_rows(office), list(office.root.glob("*"))) == (0, [])
    assert verification.verify(office.records, None).problems == ()


def test_a_refused_signature_is_an_entry_with_the_id_that_was_typed(office) -> None:
    with pytest.raises(UnauthenticatedError):
        office.submit(request=by("nobody"))
    with office.records.read() as connection:
        [entry] = chain.history(connection, "release:soup:1")
    assert (entry.who, entry.action, orjson.loads(entry.new or "")) == (
        "unknown",
        "signature_refused",
        {"signer": "nobody"},
    )


@pytest.mark.parametrize("step", ["approve", "reject", "make_effective"])
def test_a_step_from_a_wrong_state_is_refused(office, step) -> None:
    release_id = office.effective("1")
    with pytest.raises(ReleaseError, match=r"version 1 \(.{12}\) is effective: it cannot be"):
        getattr(office.service, step)(release_id, by("boris"))
    with pytest.raises(ReleaseError, match="no release 000000000000"):
        getattr(office.service, step)("0" * 64, by("boris"))
    assert n_rows(office) == 3


def test_a_tested_release_is_not_made_effective_without_approval(office) -> None:
    release_id = office.submit().release_id
    with pytest.raises(ReleaseError, match="is tested: it cannot be made effective"):
        office.service.make_effective(release_id, by("boris"))
    assert office.service.effective() is None


@pytest.mark.parametrize("approved", [False, True])
def test_a_rejected_version_can_be_submitted_again_as_another_release(office, approved) -> None:
    first = office.submit().release_id
    if approved:
        office.service.approve(first, by("boris"))
    assert office.service.reject(first, by("boris", "recall too low")).state == "draft"
    with pytest.raises(ReleaseError, match="is draft: it cannot be"):
        office.service.make_effective(first, by("boris"))
    second = office.submit().release_id
    assert second != first
    assert [each.state for each in office.service.all()] == ["draft", "tested"]


def test_a_version_is_not_submitted_twice_at_a_time(office) -> None:
    office.submit()
    with pytest.raises(ReleaseError, match="is tested: it cannot be submitted"):
        office.submit()
    assert n_rows(office) == 1


def test_criteria_that_are_not_met_leave_nothing(office) -> None:
    def missed() -> Never:
        raise ReleaseError("recall at the budget is 0.41", expected="0.60 or more")

    with pytest.raises(ReleaseError, match=r"recall at the budget is 0\.41"):
        office.submit(evidence=missed)
    assert (n_rows(office), list(office.root.glob("*"))) == (0, [])


def test_the_next_effective_release_retires_the_former_one_in_the_same_transaction(office) -> None:
    first, second = office.effective("1"), office.effective("2")
    assert [office.service.status(each).state for each in (first, second)] == ["retired", "effective"]
    assert actions(office)[-2:] == [("1", "retire", "retired"), ("2", "make_effective", "effective")]
    with pytest.raises(ReleaseError, match="is retired: it cannot be made effective"):
        office.service.make_effective(first, by("boris"))


def test_rollback_goes_back_step_by_step_and_not_further(office) -> None:
    first, second, third = office.effective("1"), office.effective("2"), office.effective("3")
    assert office.service.rollback(by("boris", "too many alarms")).release_id == second
    assert [office.service.status(each).state for each in (first, second, third)] == ["retired", "effective", "retired"]
    assert office.service.rollback(by("boris")).release_id == first
    with pytest.raises(ReleaseError, match="version 1 is the first that became effective"):
        office.service.rollback(by("boris"))
    fourth = office.effective("4")
    assert office.service.rollback(by("boris")).release_id == first
    assert office.service.status(fourth).state == "retired"
    assert verification.verify(office.records, None).problems == ()


def test_without_an_effective_release_there_is_nothing_to_roll_back(office) -> None:
    office.submit()
    with pytest.raises(ReleaseError, match="no release of 'soup' is effective"):
        office.service.rollback(by("boris"))


def test_a_release_that_was_rolled_back_can_be_submitted_again(office) -> None:
    office.effective("1")
    second = office.effective("2")
    office.service.rollback(by("boris"))
    assert office.effective("2") != second


def test_a_bundle_that_was_changed_is_neither_approved_nor_made_effective(office) -> None:
    release_id = office.submit().release_id
    path = office.root / release_id / "process.json"
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(BundleError, match=r"process\.json was changed"):
        office.service.approve(release_id, by("boris"))
    path.write_bytes(content)
    office.service.approve(release_id, by("boris"))
    path.write_bytes(content + b" ")
    with pytest.raises(BundleError, match=r"process\.json was changed"):
        office.service.make_effective(release_id, by("boris"))
    assert (n_rows(office), office.service.effective()) == (2, None)


def test_a_release_that_fails_its_canary_does_not_become_effective(office) -> None:
    release_id = office.submit().release_id
    office.service.approve(release_id, by("boris"))

    def canary(_: object) -> Never:
        raise BundleError("the canary died")

    office.canary = canary
    with pytest.raises(BundleError, match="the canary died"):
        office.service.make_effective(release_id, by("boris"))
    assert office.service.status(release_id).state == "approved"


def test_a_submission_that_other_keys_signed_is_not_approved(office, tmp_path) -> None:
    release_id = office.submit().release_id
    office.keys = tmp_path / "others"
    make_keys(office.keys)
    with pytest.raises(EnvelopeError, match="not sealed by trusted keys"):
        office.service.approve(release_id, by("boris"))


def test_of_two_approvers_at_once_one_wins_and_the_other_gets_one_line(office) -> None:
    release_id = office.submit().release_id

    def approve(who: str) -> str:
        try:
            return office.service.approve(release_id, by(who)).state
        except BatchguardError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(approve, ["boris", "clara"]))
    assert told[0] == "approved"
    assert "is approved: it cannot be approved" in told[1]
    assert actions(office) == [("1", "submit", "tested"), ("1", "approve", "approved")]
    assert len(envelope_of(office.service.status(release_id).actions[-1]["envelope"]).signatures) == 2


def test_the_service_of_another_process_does_not_touch_a_release(office) -> None:
    release_id = office.submit().release_id
    other = replace(office.service, process_id="other")
    with pytest.raises(ReleaseError, match=r"is not one of 'other'"):
        other.reject(release_id, by("anna"))
    assert office.service.status(release_id).state == "tested"
