"""Identity tokens (OpenID Connect): signed by the plant's provider, for this endpoint, not expired, with a known role."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import jwt
from pydantic import JsonValue

from features.errors import BatchguardError
from serving.access.principals import AccessError, Principal, UnauthenticatedError, checked
from serving.settings import Identity

ALGORITHMS = ("EdDSA", "ES256", "ES384", "RS256", "RS384", "PS256")  # no shared secrets, never `none`
_LEEWAY_S = 30
_FRESH_S = 3600  # older keys are fetched again, so that the provider can withdraw one
_RETRY_S = 10  # the shortest time between two fetches
_SEEN = 4096  # tokens whose first use is remembered


class ProviderUnavailableError(BatchguardError):
    """The identity provider's keys cannot be fetched now."""


class Tokens:
    """Verifies tokens of one provider; its keys are fetched once, and again for a token with an unknown key.

    Args:
        provider: The provider.
        steady_s: Seconds since an arbitrary moment: no token is accepted for longer than its lifetime after its first use,
            also where the machine's clock is set back.
    """

    def __init__(self, provider: Identity, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._provider, self._steady_s = provider, steady_s
        self._first_used_s: OrderedDict[bytes, float] = OrderedDict()
        self._client = jwt.PyJWKClient(provider.jwks_url, cache_keys=False, cache_jwk_set=False, timeout=2)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_s = -float(_FRESH_S)
        self._tried_s = -float(_RETRY_S)
        self._lock = threading.Lock()

    def is_cached(self, token: str) -> bool:
        """Whether `principal` returns without a request to the provider."""
        try:
            return jwt.get_unverified_header(token).get("kid") in self._keys and self._is_fresh()
        except jwt.PyJWTError:
            return True

    def principal(self, token: str) -> Principal:
        """The person that a token names.

        Raises:
            UnauthenticatedError: The token is not valid here, or gives no known role and sites.
            ProviderUnavailableError: The signature cannot be checked now.
        """
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token, key, algorithms=list(ALGORITHMS), audience=self._provider.audience, issuer=self._provider.issuer,
                leeway=_LEEWAY_S, options={"require": ["exp", "iat", "sub"]},
            )  # fmt: skip
            self._check_used_up(token, claims["exp"] - claims["iat"])
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"the token is not valid ({type(error).__name__})") from None
        return self._principal(claims)

    def _check_used_up(self, token: str, lifetime_s: float) -> None:
        now_s, digest = self._steady_s(), hashlib.sha256(token.encode()).digest()
        with self._lock:
            first_s = self._first_used_s.setdefault(digest, now_s)
            while len(self._first_used_s) > _SEEN:
                self._first_used_s.popitem(last=False)
        if now_s - first_s > lifetime_s + _LEEWAY_S:
            raise jwt.ExpiredSignatureError("used for longer than its lifetime")

    def _principal(self, claims: dict[str, JsonValue]) -> Principal:
        role_claim, sites = claims.get(self._provider.role_claim), claims.get(self._provider.sites_claim)
        roles = role_claim if isinstance(role_claim, list) else [role_claim]
        try:
            names = [site for site in sites if isinstance(site, str)] if isinstance(sites, list) else []
            kind, role, scope = checked("person", str(roles[0]) if len(roles) == 1 else "", names)
        except AccessError:
            raise UnauthenticatedError("the token gives no role or no site of this endpoint") from None
        subject, at_s = str(claims["sub"])[:150], claims.get("auth_time")
        logged_in = round(at_s * 1_000_000) if isinstance(at_s, int) and not isinstance(at_s, bool) else None
        name = str(claims.get("name", subject))[:200]
        return Principal(f"user:{subject}", name, kind, role, scope, logged_in, subject)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._fetched_s < _FRESH_S

    def _key(self, kid: str | None) -> jwt.PyJWK:
        if kid in self._keys and self._is_fresh():
            return self._keys[kid]
        with self._lock:
            if time.monotonic() - self._tried_s >= _RETRY_S:
                self._tried_s = time.monotonic()
                self._fetch()
        if not self._keys:
            raise ProviderUnavailableError(
                "the identity provider cannot be reached", remedy="Send the same request again."
            )
        if kid not in self._keys:
            raise jwt.InvalidKeyError("unknown key")
        return self._keys[kid]

    def _fetch(self) -> None:
        """Fetch the newest keys; the former keys stay if the provider cannot be reached."""
        try:
            keys = self._client.get_signing_keys(refresh=True)
        except (jwt.PyJWKClientError, jwt.PyJWKSetError):
            return
        self._keys = {key.key_id: key for key in keys}
        self._fetched_s = time.monotonic()
        if len(keys) == 1:  # a token may omit the id of the only key
            self._keys[None] = keys[0]
