import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from serving.access.principals import UnauthenticatedError
from serving.access.tokens import ProviderUnavailableError, Tokens
from serving.settings import Identity

MINE, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def public(key, kid="k1") -> dict[str, str]:
    return json.loads(OKPAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig", "alg": "EdDSA"}


class Keys(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = json.dumps({"keys": [public(MINE)]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        pass


@pytest.fixture(scope="module")
def jwks_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def tokens(jwks_url) -> Tokens:
    return Tokens(Identity(issuer="https://id.plant", audience="batchguard", jwks_url=jwks_url))


def token(key=MINE, kid="k1", **claims) -> str:
    now = datetime.now(UTC)
    said = {
        "iss": "https://id.plant", "aud": "batchguard", "sub": "anna", "iat": now, "exp": now + timedelta(minutes=5),
        "batchguard_role": "reviewer", "batchguard_sites": ["north"],
    } | claims  # fmt: skip
    return jwt.encode({k: v for k, v in said.items() if v is not None}, key, algorithm="EdDSA", headers={"kid": kid})


def test_a_token_of_the_provider_speaks_for_a_person(tokens) -> None:
    found = tokens.principal(token())
    assert (found.id, found.kind, found.role, found.sites) == ("user:anna", "person", "reviewer", frozenset({"north"}))
    assert found.may("review")


def test_keys_are_fetched_once(tokens) -> None:
    before = Keys.asked
    assert not tokens.is_cached(token())
    for _ in range(3):
        tokens.principal(token())
    assert tokens.is_cached(token())
    assert Keys.asked == before + 1


PAST = datetime.now(UTC) - timedelta(hours=1)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"}, {"iss": "https://evil"}, {"exp": PAST}, {"exp": None}, {"sub": None}, {"iat": None},
        {"batchguard_role": None}, {"batchguard_role": "boss"}, {"batchguard_role": ["reviewer", "admin"]},
        {"batchguard_sites": None}, {"batchguard_sites": []}, {"batchguard_sites": "north"}, {"batchguard_sites": [1]},
        {"nbf": datetime.now(UTC) + timedelta(hours=1)},
    ],
)  # fmt: skip
def test_a_token_that_says_something_else_is_refused(tokens, claims) -> None:
    with pytest.raises(UnauthenticatedError):
        tokens.principal(token(**claims))


def test_a_token_that_someone_else_signed_is_refused(tokens) -> None:
    for forged in (token(OTHER), token(OTHER, kid="k2"), "not.a.token", "", token()[:-4] + "AAAA"):
        with pytest.raises(UnauthenticatedError):
            tokens.principal(forged)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_unsigned_token_or_one_of_a_shared_secret_is_refused(tokens, algorithm) -> None:
    claims = {"iss": "https://id.plant", "aud": "batchguard", "sub": "anna", "iat": 0, "exp": 2**33,
              "batchguard_role": "admin", "batchguard_sites": ["*"]}  # fmt: skip
    secret = "" if algorithm == "none" else "x" * 32
    with pytest.raises(UnauthenticatedError):
        tokens.principal(jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": "k1"}))


def test_a_provider_that_is_away_is_no_wrong_token() -> None:
    with pytest.raises(ProviderUnavailableError):
        Tokens(
            Identity(issuer="https://id.plant", audience="batchguard", jwks_url="http://127.0.0.1:9/jwks")
        ).principal(token())


def test_keys_that_were_fetched_serve_on_while_the_provider_is_away(tokens, monkeypatch) -> None:
    tokens.principal(token())
    monkeypatch.setattr(tokens, "_fetched_s", -1e9)  # an hour later
    monkeypatch.setattr(tokens, "_tried_s", -1e9)
    monkeypatch.setattr(tokens._client, "uri", "http://127.0.0.1:9/jwks")
    assert tokens.principal(token()).id == "user:anna"


@pytest.mark.parametrize(
    ("said", "read"), [(1_772_452_800, 1_772_452_800_000_000), (True, None), ("now", None), (None, None)]
)
def test_when_a_person_logged_in_is_read_where_the_provider_says_it(tokens, said, read) -> None:
    assert tokens.principal(token(auth_time=said)).authenticated_us == read


def test_a_token_is_used_for_no_longer_than_its_lifetime_though_the_clock_stands_still(jwks_url) -> None:
    """The clock that is set back: a token of five minutes is refused five minutes after its first use."""
    steady_s = 0.0
    tokens = Tokens(
        Identity(issuer="https://id.plant", audience="batchguard", jwks_url=jwks_url), steady_s=lambda: steady_s
    )
    used = token()
    assert tokens.principal(used).id == "user:anna"
    steady_s = 300.0 + 30.0
    assert tokens.principal(used).id == "user:anna"
    steady_s = 331.0
    with pytest.raises(UnauthenticatedError, match="Expired"):
        tokens.principal(used)
    assert tokens.principal(token(iat=datetime.now(UTC) - timedelta(seconds=1))).id == "user:anna"
