"""Two components at the first signature of a session, the secret at each next one; a refusal says what is missing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from serving.access.principals import ForbiddenError, Principal, UnauthenticatedError
from serving.access.signing import FRESH_S, MOST_REFUSED, SESSION_S, SignatureError, Signing, SigningPausedError

ANNA = Principal("key:a1", "Anna Weiss", "person", "reviewer", frozenset({"north"}))
BORIS = Principal("key:b2", "Boris Kern", "person", "approver", frozenset({"*"}))
ROBOT = Principal("key:r3", "Robot", "service", "mes", frozenset({"*"}))
SHOWN = {"anna": ANNA, "boris": BORIS, "robot": ROBOT}
S = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.us = 1_000_000 * S

    def __call__(self) -> int:
        return self.us

    def later(self, seconds: float) -> None:
        self.us += round(seconds * S)


def verified(credential: str) -> Principal:
    if credential.startswith("login@"):
        return Principal("user:anna", "Anna Weiss", "person", "reviewer", frozenset({"north"}), int(credential[6:]))
    if credential not in SHOWN:
        raise UnauthenticatedError("the key is not known")
    return SHOWN[credential]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signing(clock) -> Signing:
    return Signing(verified, clock, clock)


def test_the_first_signature_takes_id_and_secret_and_the_next_one_the_secret(signing, clock) -> None:
    first = signing.sign(ANNA, "review", "key:a1", "anna")
    assert (first.name, first.meaning, first.signed_with) == ("Anna Weiss", "review", "id and key")
    clock.later(SESSION_S - 1)
    assert signing.sign(ANNA, "responsibility", None, "anna").signed_with == "key"
    clock.later(SESSION_S - 1)  # of the last signature, not of the first
    assert signing.sign(ANNA, "review", "key:a1", "anna").signed_with == "id and key"


def test_a_session_ends_and_both_are_asked_for_again(signing, clock) -> None:
    signing.sign(ANNA, "review", "key:a1", "anna")
    clock.later(SESSION_S)
    with pytest.raises(SignatureError, match="names its signer"):
        signing.sign(ANNA, "review", None, "anna")


@pytest.mark.parametrize(
    ("signer", "credential", "said"),
    [
        ("key:a1", None, "needs your secret"), ("key:a1", "", "needs your secret"), (None, "anna", "names its signer"),
        ("key:b2", "anna", "somebody else"), ("key:a1", "boris", "belongs to somebody"), ("key:a1", "guess", "not known"),
        ("key:a1", "robot", "belongs to somebody"),
    ],
)  # fmt: skip
def test_a_component_that_is_missing_or_of_somebody_else_is_refused(signing, signer, credential, said) -> None:
    with pytest.raises(SignatureError, match=said):
        signing.sign(ANNA, "review", signer, credential)


def test_a_wrong_signer_is_refused_within_a_session_too(signing) -> None:
    signing.sign(ANNA, "review", "key:a1", "anna")
    with pytest.raises(SignatureError, match="somebody else"):
        signing.sign(ANNA, "review", "key:b2", "anna")


def test_sessions_of_two_people_do_not_meet(signing) -> None:
    signing.sign(ANNA, "review", "key:a1", "anna")
    with pytest.raises(SignatureError, match="names its signer"):
        signing.sign(BORIS, "approval", None, "boris")


def test_a_login_counts_where_it_was_just_now_and_in_a_session_for_as_long_as_that(signing, clock) -> None:
    anna, at = verified(f"login@{clock.us}"), clock.us
    clock.later(FRESH_S)
    assert signing.sign(anna, "review", "user:anna", f"login@{at}").signed_with == "id and login"
    clock.later(SESSION_S - FRESH_S)
    assert signing.sign(anna, "review", None, f"login@{at}").signed_with == "login"
    clock.later(1)
    with pytest.raises(SignatureError, match="login just now"):
        signing.sign(anna, "review", None, f"login@{at}")


@pytest.mark.parametrize("age_s", [FRESH_S + 1, -FRESH_S - 1])
def test_an_old_login_and_one_of_the_future_do_not_begin_a_session(signing, clock, age_s) -> None:
    anna = verified(f"login@{clock.us - age_s * S}")
    with pytest.raises(SignatureError, match="login just now"):
        signing.sign(anna, "review", "user:anna", f"login@{clock.us - age_s * S}")


def test_a_token_whose_provider_does_not_say_when_signs_nothing(clock) -> None:
    anna = replace(ANNA, id="user:anna")
    with pytest.raises(SignatureError, match="login just now"):
        Signing(lambda _: anna, clock).sign(anna, "review", "user:anna", "token")


def test_an_approval_is_an_approvers_and_a_service_never_signs(signing) -> None:
    with pytest.raises(ForbiddenError, match="cannot sign an approval"):
        signing.sign(ANNA, "approval", "key:a1", "anna")
    assert signing.sign(BORIS, "approval", "key:b2", "boris").meaning == "approval"
    with pytest.raises(ForbiddenError, match="never signs"):
        signing.sign(ROBOT, "review", "key:r3", "robot")


def test_after_a_few_refusals_nothing_is_looked_at_for_a_while(signing, clock) -> None:
    for _ in range(MOST_REFUSED):
        with pytest.raises(SignatureError):
            signing.sign(ANNA, "review", "key:a1", "guess")
    with pytest.raises(SigningPausedError):
        signing.sign(ANNA, "review", "key:a1", "anna")
    signing.sign(BORIS, "review", "key:b2", "boris")
    clock.later(SESSION_S)
    signing.sign(ANNA, "review", "key:a1", "anna")


def test_attempts_made_at_once_are_counted_as_those_made_one_after_the_other(clock) -> None:
    looked_at, begin = [], threading.Barrier(4 * MOST_REFUSED)

    def slow(credential: str) -> Principal:
        looked_at.append(credential)
        threading.Event().wait(0.01)
        raise UnauthenticatedError("the key is not known")

    signing = Signing(slow, clock)

    def attempt(i: int) -> type[Exception]:
        begin.wait()
        with pytest.raises(UnauthenticatedError) as refused:
            signing.sign(ANNA, "review", "key:a1", f"guess {i}")
        return refused.type

    with ThreadPoolExecutor(4 * MOST_REFUSED) as threads:
        told = list(threads.map(attempt, range(4 * MOST_REFUSED)))
    assert len(looked_at) == told.count(SignatureError) == MOST_REFUSED
    assert told.count(SigningPausedError) == 3 * MOST_REFUSED


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_clock_neither_prolongs_a_session_nor_ends_a_pause(step_s) -> None:
    wall, steady = Clock(), Clock()
    signing = Signing(verified, wall, steady)
    signing.sign(ANNA, "review", "key:a1", "anna")
    wall.later(step_s)
    assert signing.sign(ANNA, "review", None, "anna").signed_with == "key"
    steady.later(SESSION_S)
    with pytest.raises(SignatureError, match="names its signer"):
        signing.sign(ANNA, "review", None, "anna")
    for _ in range(MOST_REFUSED - 1):
        with pytest.raises(SignatureError):
            signing.sign(ANNA, "review", "key:a1", "guess")
    wall.later(step_s)
    with pytest.raises(SigningPausedError):
        signing.sign(ANNA, "review", "key:a1", "anna")
    steady.later(SESSION_S)
    assert signing.sign(ANNA, "review", "key:a1", "anna").signed_with == "id and key"
