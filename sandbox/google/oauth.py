"""The token endpoint: refresh, code exchange, revoke, with the answers of Google's documentation.

Works on `State`; what is wrong comes out as `OAuthError`. Google does not rotate refresh tokens for web
clients, caps the live ones for an account and client, and gives one on re-consent only if asked to prompt.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sandbox.google.errors import OAuthError
from sandbox.model import Access, Client, Grant, State
from sandbox.tokens import base64url, secret, verified


def grant(
    state: State, *, account: str, client_id: str, scope: str, cap: int, refresh_token: str | None = None
) -> Grant:
    """A new refresh token; more than `cap` live ones for the account and client kill the oldest."""
    made = Grant(refresh_token or f"1//sandbox-{secret(state)}", account, client_id, scope, state.made)
    state.grants[made.refresh_token] = made
    live = [one for one in state.grants.values() if (one.account, one.client_id) == (account, client_id)]
    live = [one for one in live if not one.revoked]
    for oldest in live[: max(0, len(live) - cap)]:
        oldest.revoked = True
    return made


def token(state: State, form: Mapping[str, str], *, now: datetime) -> dict[str, Any]:
    """`POST /token`; raises `OAuthError`."""
    match form.get("grant_type"):
        case "refresh_token":
            return _refresh(state, form, now)
        case "authorization_code":
            return _exchange(state, form, now)
        case None:
            raise OAuthError(400, "invalid_request", "Required parameter is missing: grant_type")
        case other:
            raise OAuthError(400, "unsupported_grant_type", f"Invalid grant_type: {other}")


def revoke(state: State, text: str) -> None:
    """`POST /revoke`: an access or a refresh token; ends all that the account granted to the client."""
    found = state.grants.get(text)
    if found is None and (access := state.access.get(text)) is not None:
        found = state.grants.get(access.refresh_token)
    if found is None or found.revoked:
        raise OAuthError(400, "invalid_token", "Token expired or revoked")
    for one in state.grants.values():
        if (one.account, one.client_id) == (found.account, found.client_id):
            one.revoked = True
    for key in [
        key for key, one in state.access.items() if (one.account, one.client_id) == (found.account, found.client_id)
    ]:
        del state.access[key]


def access(state: State, granted: Grant, *, now: datetime) -> tuple[str, int]:
    """A new access token and its life in seconds. Many may live at once; the dead are forgotten."""
    life = state.switches.access_token_s
    if state.made % 64 == 0:
        state.access = {key: one for key, one in state.access.items() if one.expires_at > now}
    text = f"ya29.sandbox-{secret(state)}"
    ends = now + timedelta(seconds=life)
    state.access[text] = Access(granted.account, granted.client_id, granted.scope, ends, granted.refresh_token)
    return text, life


def _refresh(state: State, form: Mapping[str, str], now: datetime) -> dict[str, Any]:
    client = _client(state, form)
    text = form.get("refresh_token")
    if not text:
        raise OAuthError(400, "invalid_request", "Missing required parameter: refresh_token")
    granted = state.grants.get(text)
    if granted is None or granted.provider != "google":
        raise OAuthError(400, "invalid_grant", "Bad Request")
    if granted.client_id != client.id:
        raise OAuthError(401, "unauthorized_client", "Unauthorized")
    if granted.revoked:
        raise OAuthError(400, "invalid_grant", "Token has been expired or revoked.")
    answer = _answer(state, granted, now)
    if state.switches.rotate_refresh_tokens:
        cap = state.switches.refresh_tokens_per_account
        new = grant(state, account=granted.account, client_id=client.id, scope=granted.scope, cap=cap)
        granted.revoked = True
        answer["refresh_token"] = new.refresh_token
    return answer


def _exchange(state: State, form: Mapping[str, str], now: datetime) -> dict[str, Any]:
    client = _client(state, form)
    found = state.codes.pop(form.get("code", ""), None)
    if found is None or (found.provider, found.client_id) != ("google", client.id):
        raise OAuthError(400, "invalid_grant", "Malformed auth code.")
    if form.get("redirect_uri") != found.redirect_uri:
        raise OAuthError(400, "redirect_uri_mismatch", "Bad Request")
    if found.challenge is not None and not verified(found, form.get("code_verifier", "")):
        raise OAuthError(400, "invalid_grant", "Invalid code verifier.")
    cap = state.switches.refresh_tokens_per_account
    granted = grant(state, account=found.account, client_id=client.id, scope=found.scope, cap=cap)
    answer = _answer(state, granted, now)
    if "openid" in found.scope.split():
        answer["id_token"] = _id_token(client, found.account, now, answer["expires_in"])
    if found.offline:
        answer["refresh_token"] = granted.refresh_token
    return answer


def _answer(state: State, granted: Grant, now: datetime) -> dict[str, Any]:
    text, life = access(state, granted, now=now)
    return {"access_token": text, "expires_in": life, "scope": granted.scope, "token_type": "Bearer"}


def _id_token(client: Client, account: str, now: datetime, life: int) -> str:
    """Who allowed it. Signed with the client's secret: a client that gets it from here by TLS need not check that."""
    claims: dict[str, Any] = {
        "iss": "https://accounts.google.com",
        "aud": client.id,
        "sub": str(int.from_bytes(hashlib.sha256(account.encode()).digest()[:8])),
        "email": account,
        "email_verified": True,
        "iat": int(now.timestamp()),
        "exp": int(now.timestamp()) + life,
    }
    signed = ".".join(base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{base64url(hmac.digest(client.secret.encode(), signed.encode(), 'sha256'))}"


def _client(state: State, form: Mapping[str, str]) -> Client:
    client = state.clients.get(form.get("client_id", ""))
    if client is None:
        raise OAuthError(401, "invalid_client", "The OAuth client was not found.")
    if not hmac.compare_digest(client.secret.encode(), form.get("client_secret", "").encode()):
        raise OAuthError(401, "invalid_client", "The provided client secret is invalid.")
    return client
