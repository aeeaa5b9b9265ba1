from zoneinfo import ZoneInfo

import pytest

from serving.access.principals import ForbiddenError
from serving.audit import chain, verification
from serving.release.documents import SignedDocument, document_sha256, sign_document, signed_document
from serving.release.local_time import local_time
from serving.release.states import ReleaseError
from tests.serving.audit.test_chain import bypassed
from tests.serving.releases import by

CRITERIA = '[[criterion]]\nmetric = "recall_at_budget"\nbound = 0.6\nside = "min"\nleast_failures = 20\n'


def sign(office, content: str = CRITERIA, who: str = "boris") -> SignedDocument:
    return sign_document(
        office.records, office.service.signers, "acceptance", "soup", content, by(who, "agreed with quality")
    )


def test_a_document_is_signed_by_an_approver_and_the_newest_one_counts(office) -> None:
    assert signed_document(office.records, "acceptance", "soup") is None
    first = sign(office)
    assert (first.content, first.signer_name, first.subject) == (CRITERIA, "Boris Kern", "boris")
    second = sign(office, CRITERIA.replace("0.6", "0.7"), "clara")
    assert signed_document(office.records, "acceptance", "soup") == second
    assert second.sha256 != first.sha256
    assert signed_document(office.records, "intended_use", "soup") is None
    assert signed_document(office.records, "acceptance", "stew") is None
    with office.records.read() as connection:
        entries = chain.history(connection, "document:acceptance:soup")
    assert [(e.action, e.why) for e in entries] == [("document", "agreed with quality")] * 2
    assert verification.verify(office.records, None).problems == ()


def test_comments_and_layout_do_not_void_a_signature_and_a_value_does() -> None:
    assert document_sha256("# why\n" + CRITERIA.replace(" = ", "=")) == document_sha256(CRITERIA)
    assert document_sha256(CRITERIA.replace("0.6", "0.61")) != document_sha256(CRITERIA)
    with pytest.raises(ReleaseError, match="cannot be read as TOML"):
        document_sha256("bound = ")


@pytest.mark.parametrize("who", ["anna", "robot", "unbound"])
def test_only_an_approver_with_a_subject_signs_a_document(office, who) -> None:
    with pytest.raises(ForbiddenError):
        sign(office, who=who)
    assert signed_document(office.records, "acceptance", "soup") is None


@pytest.mark.parametrize(
    "statement",
    ["UPDATE signed_documents SET content = content || ' '", "UPDATE signed_documents SET subject = 'clara'",
     "UPDATE signed_documents SET request_id = 'x'", "DELETE FROM signed_documents",
     "UPDATE release_actions SET state = 'effective' WHERE action = 'submit'",
     "UPDATE release_actions SET envelope = '{}' WHERE action = 'submit'",
     "UPDATE release_actions SET principal = 'key:x'", "UPDATE release_actions SET reason = ''",
     "DELETE FROM release_actions"],
)  # fmt: skip
def test_a_changed_release_or_document_is_found(office, statement) -> None:
    office.submit()
    sign(office)
    assert verification.verify(office.records, None).problems == ()
    bypassed(office.records, statement)
    assert verification.verify(office.records, None).problems


def test_the_local_time_says_its_offset_and_zone() -> None:
    summer = local_time(1_782_907_200_123_456, ZoneInfo("Europe/Berlin"))  # 2026-07-01T12:00:00.123456Z
    assert (summer.text, summer.zone) == ("2026-07-01T14:00:00.123456+02:00", "Europe/Berlin")
    winter = local_time(1_798_804_800_000_000, ZoneInfo("Europe/Berlin"))  # 2027-01-01T12:00:00Z
    assert winter.text == "2027-01-01T13:00:00.000000+01:00"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_document_with_a_number_that_json_cannot_spell_is_refused(number) -> None:
    with pytest.raises(ReleaseError, match="cannot be read as TOML"):
        document_sha256(f"bound = {number}\n")
