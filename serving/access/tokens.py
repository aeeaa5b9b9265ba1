"""Identity tokens (OpenID Connect): signed by the plant's provider, for this endpoint, not expired, with a known role."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import jwt

from features.errors import BatchguardError
from serving.access.principals import AccessError, Principal, UnauthenticatedError, checked

ALGORITHMS = ("EdDSA", "ES256", "ES384", "RS256", "RS384", "PS256")  # no shared secrets, never `none`
_LEEWAY_S = 30
_FRESH_S = 3600  # keys are fetched again, so that the provider can take one back
_AGAIN_S = 10  # keys that did not help are not fetched again before


class ProviderUnavailableError(BatchguardError):
    """The identity provider's keys cannot be fetched now."""


@dataclass(frozen=True)
class Provider:
    """The identity provider of the plant.

    Attributes:
        issuer: `iss` of its tokens.
        audience: `aud` by which it names this endpoint.
        jwks_url: Where its public keys are.
        role_claim: Claim that holds the role, or a list with one role of ours in it.
        sites_claim: Claim that holds the list of sites.
    """

    issuer: str
    audience: str
    jwks_url: str
    role_claim: str = "batchguard_role"
    sites_claim: str = "batchguard_sites"


class Tokens:
    """Verifies tokens of one provider; its keys are fetched once and again when an unknown one signs."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._client = jwt.PyJWKClient(provider.jwks_url, cache_keys=False, cache_jwk_set=False, timeout=2)
        self._keys: dict[str | None, Any] = {}
        self._fetched_s = -float(_FRESH_S)
        self._tried_s = -float(_AGAIN_S)
        self._lock = threading.Lock()

    def is_quick(self, token: str) -> bool:
        """Whether `principal` answers without asking the provider."""
        try:
            return jwt.get_unverified_header(token).get("kid") in self._keys and self._is_fresh()
        except jwt.PyJWTError:
            return True

    def principal(self, token: str) -> Principal:
        """Who it speaks of.

        Raises:
            UnauthenticatedError: It is not valid here, or gives no known role and sites.
            ProviderUnavailableError: Its signature cannot be checked now.
        """
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token, key, algorithms=list(ALGORITHMS), audience=self._provider.audience, issuer=self._provider.issuer,
                leeway=_LEEWAY_S, options={"require": ["exp", "iat", "sub"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"the token is not valid ({type(error).__name__})") from None
        return self._principal(claims)

    def _principal(self, claims: dict[str, Any]) -> Principal:
        said, sites = claims.get(self._provider.role_claim), claims.get(self._provider.sites_claim)
        roles = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        try:
            names = [site for site in sites if isinstance(site, str)] if isinstance(sites, list) else []
            kind, role, scope = checked("person", str(roles[0]) if len(roles) == 1 else "", names)
        except AccessError:
            raise UnauthenticatedError("the token gives no role or no site of this endpoint") from None
        subject, at_s = str(claims["sub"])[:150], claims.get("auth_time")
        logged_in = round(at_s * 1_000_000) if isinstance(at_s, int) and not isinstance(at_s, bool) else None
        return Principal(f"user:{subject}", str(claims.get("name", subject))[:200], kind, role, scope, logged_in)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._fetched_s < _FRESH_S

    def _key(self, kid: str | None) -> Any:
        if kid in self._keys and self._is_fresh():
            return self._keys[kid]
        with self._lock:
            if time.monotonic() - self._tried_s >= _AGAIN_S:
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
        """Newest keys; those known before stay where the provider cannot be reached."""
        try:
            keys = self._client.get_signing_keys(refresh=True)
        except (jwt.PyJWKClientError, jwt.PyJWKSetError):
            return
        self._keys = {key.key_id: key for key in keys}
        self._fetched_s = time.monotonic()
        if len(keys) == 1:  # a token may leave the name of the only key out
            self._keys[None] = keys[0]
