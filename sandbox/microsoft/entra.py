"""Entra ID's token endpoint: refresh with rotation, code exchange, discovery, with the answers of its documentation.

Works on `State`; what is wrong comes out as `EntraError`. A used refresh token is not revoked, it goes on ageing.
"""

import base64
import hmac
import json
import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sandbox.microsoft.errors import EntraError
from sandbox.model import Access, Client, Grant, State
from sandbox.tokens import secret, verified

LOGIN = "https://login.microsoftonline.com"
"""What the discovery document calls itself: clients that are sent elsewhere map this host."""
_SHARED = ("common", "organizations", "consumers")
_PERSONAL = ("outlook.com", "hotmail.com", "live.com", "msn.com")
_CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ASIDE = ("openid", "profile", "email", "offline_access")


def discovery(state: State, tenant: str) -> dict[str, Any]:
    """The OpenID configuration of a tenant; raises 400 for one that isn't there."""
    _check_tenant(state, tenant)
    base = f"{LOGIN}/{tenant}"
    issuer = tenant if _GUID.fullmatch(tenant) else "{tenantid}" if tenant in _SHARED[:2] else tenant_of(f"x@{tenant}")
    issuer = _CONSUMERS if tenant == "consumers" else issuer
    return {
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": f"{LOGIN}/{issuer}/v2.0",
        "request_uri_parameter_supported": False,
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "http_logout_supported": True,
        "frontchannel_logout_supported": True,
        "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "ver"],
        "tenant_region_scope": None,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
    }


def grant(
    state: State, *, account: str, client_id: str, scope: str, now: datetime, refresh_token: str | None = None
) -> Grant:
    """A new refresh token, issued now; older ones stay as they are."""
    text = refresh_token or f"0.AXsandbox-{secret(state)}"
    made = Grant(text, account, client_id, scope, state.made, provider="microsoft", issued_at=now)
    state.grants[made.refresh_token] = made
    return made


def access(
    state: State, granted: Grant, *, now: datetime, scope: str | None = None, claims: str | None = None
) -> tuple[str, int]:
    """A new access token and its life in seconds: long for a client that says it can answer challenges (`cp1`)."""
    switches = state.microsoft_switches
    life = switches.long_access_token_s if _has_cp1(claims) else switches.access_token_s
    if state.made % 64 == 0:
        state.access = {key: one for key, one in state.access.items() if one.expires_at > now}
    text = f"eyJ0eXAiOiJKV1QifQ.sandbox-{secret(state)}"
    challenged = '"access_token"' in (claims or "") and '"nbf"' in (claims or "")
    state.access[text] = Access(
        granted.account,
        granted.client_id,
        scope or granted.scope,
        now + timedelta(seconds=life),
        granted.refresh_token,
        provider="microsoft",
        claims=challenged,
        can_be_challenged=_has_cp1(claims),
    )
    return text, life


def token(state: State, tenant: str, form: Mapping[str, str], *, now: datetime) -> dict[str, Any]:
    """`POST /{tenant}/oauth2/v2.0/token`; raises `EntraError`."""
    _check_tenant(state, tenant)
    match form.get("grant_type"):
        case "refresh_token":
            return _refresh(state, tenant, form, now)
        case "authorization_code":
            return _exchange(state, tenant, form, now)
        case None:
            message = "The request body must contain the following parameter: 'grant_type'."
            raise EntraError(400, "invalid_request", 900144, message)
        case other:
            message = f"The app requested an unsupported grant type '{other}'."
            raise EntraError(400, "unsupported_grant_type", 70003, message)


def tenant_of(account: str) -> str:
    """The id of the tenant in which an account lives, by its domain; personal ones live in a tenant of their own."""
    domain = account.rpartition("@")[2].lower()
    return _CONSUMERS if domain in _PERSONAL else str(uuid.uuid5(uuid.NAMESPACE_DNS, domain))


def _refresh(state: State, tenant: str, form: Mapping[str, str], now: datetime) -> dict[str, Any]:
    client = _client(state, form)
    text = form.get("refresh_token")
    if not text:
        message = "The request body must contain the following parameter: 'refresh_token'."
        raise EntraError(400, "invalid_request", 900144, message)
    granted = state.grants.get(text)
    if granted is None or granted.provider != "microsoft" or granted.client_id != client.id:
        message = "The provided value for the input parameter 'refresh_token' or 'assertion' is not valid."
        raise EntraError(400, "invalid_grant", 70000, message, suberror="bad_token")
    if granted.revoked:
        message = (
            "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might "
            "have changed or reset their password."
        )
        raise EntraError(400, "invalid_grant", 50173, message, suberror="bad_token")
    days = state.microsoft_switches.refresh_token_days
    if granted.issued_at is not None and now - granted.issued_at > timedelta(days=days):
        issued = f"{granted.issued_at:%Y-%m-%dT%H:%M:%SZ}"
        message = (
            "The refresh token has expired due to inactivity. "
            f"The token was issued on {issued} and was inactive for {days:g}.00:00:00."
        )
        raise EntraError(400, "invalid_grant", 700082, message, suberror="token_expired")
    return _answer(state, tenant, form, granted, now, offline=True)


def _exchange(state: State, tenant: str, form: Mapping[str, str], now: datetime) -> dict[str, Any]:
    client = _client(state, form)
    text = form.get("code", "")
    found = state.codes.get(text)
    if found is None or found.provider != "microsoft" or found.client_id != client.id:
        used = text in state.used_codes
        if used:
            raise EntraError(400, "invalid_grant", 54005, "OAuth2 Authorization code was already redeemed.")
        message = "The provided value for the 'code' parameter is not valid."
        raise EntraError(400, "invalid_grant", 9002313 if not text else 70000, message)
    if found.issued_at is not None and now - found.issued_at > timedelta(minutes=state.microsoft_switches.code_minutes):
        message = "The provided authorization code or refresh token has expired due to inactivity."
        raise EntraError(400, "invalid_grant", 70008, message)
    if form.get("redirect_uri") != found.redirect_uri:
        message = "The reply URL specified in the request does not match the one the code was issued for."
        raise EntraError(400, "invalid_grant", 500112, message)
    if found.challenge is not None and not verified(found, form.get("code_verifier", "")):
        message = "The Code_Verifier does not match the code_challenge supplied in the authorization request."
        raise EntraError(400, "invalid_grant", 501481, message)
    del state.codes[text]
    state.used_codes.append(text)
    granted = grant(state, account=found.account, client_id=client.id, scope=found.scope, now=now)
    return _answer(state, tenant, form, granted, now, offline=found.offline)


def _answer(
    state: State, tenant: str, form: Mapping[str, str], granted: Grant, now: datetime, *, offline: bool
) -> dict[str, Any]:
    """Tokens, rotated: a new refresh token of the same grant, which starts to age now."""
    _check_home(tenant, granted.account)
    scope = _scope(form.get("scope", ""), granted.scope)
    text, life = access(state, granted, now=now, scope=scope, claims=form.get("claims"))
    answer: dict[str, Any] = {
        "token_type": "Bearer",
        "scope": scope,
        "expires_in": life,
        "ext_expires_in": life,
        "access_token": text,
    }
    if offline:
        same = granted.issued_at == now and form.get("grant_type") == "authorization_code"
        new = (
            granted
            if same
            else grant(state, account=granted.account, client_id=granted.client_id, scope=granted.scope, now=now)
        )
        answer["refresh_token"] = new.refresh_token
    if "openid" in (form.get("scope") or granted.scope).split():
        answer["id_token"] = _id_token(granted, now)
    if form.get("client_info") == "1":
        oid = uuid.uuid5(uuid.NAMESPACE_URL, granted.account)
        answer["client_info"] = _part({"uid": str(oid), "utid": tenant_of(granted.account)})
    return answer


def _scope(asked: str, granted: str) -> str:
    """What of the asked scopes is told; raises 70000 if one was not granted."""
    mine = {_name(one) for one in granted.split()}
    wanted = [one for one in asked.split() if one not in _ASIDE]
    if any(_name(one) not in mine and _name(one) != ".default" for one in wanted):
        message = "The request was denied because one or more scopes requested are unauthorized or expired."
        raise EntraError(400, "invalid_grant", 70000, message, suberror="consent_required")
    aside = [one for one in asked.split() if one in _ASIDE]
    return " ".join(one for one in (*(wanted or granted.split()), *aside) if one != "offline_access")


def _name(scope: str) -> str:
    return scope.rsplit("/", 1)[-1].lower()


def _client(state: State, form: Mapping[str, str]) -> Client:
    client_id = form.get("client_id", "")
    client = state.clients.get(client_id)
    if client is None:
        message = f"Application with identifier '{client_id}' was not found in the directory 'Sandbox'."
        raise EntraError(400, "unauthorized_client", 700016, message)
    given = form.get("client_secret")
    if given is None:
        message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        raise EntraError(401, "invalid_client", 7000218, message)
    if not hmac.compare_digest(client.secret.encode(), given.encode()):
        message = (
            f"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
            f"not the client secret ID, for a secret added to app '{client_id}'."
        )
        raise EntraError(401, "invalid_client", 7000215, message)
    return client


def _check_tenant(state: State, tenant: str) -> None:
    domains = {one.rpartition("@")[2].lower() for one in state.accounts}
    known = {tenant_of(f"x@{domain}") for domain in domains}
    if tenant in _SHARED or tenant.lower() in known or tenant.lower() in domains:
        return
    message = f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
    raise EntraError(400, "invalid_request", 90002, message)


def _check_home(tenant: str, account: str) -> None:
    """Whether this authority may speak for the account."""
    home, personal = tenant_of(account), tenant_of(account) == _CONSUMERS
    if tenant == "common" or (tenant == "organizations" and not personal) or (tenant == "consumers" and personal):
        return
    if tenant.lower() in (home, account.rpartition("@")[2].lower()):
        return
    message = (
        f"User account '{account}' from identity provider '{home}' does not exist in tenant '{tenant}' and cannot "
        "access the application in that tenant."
    )
    raise EntraError(400, "invalid_grant", 50020 if personal else 90072, message)


def _has_cp1(claims: str | None) -> bool:
    return "xms_cc" in (claims or "") and "cp1" in (claims or "").lower()


def _id_token(granted: Grant, now: datetime) -> str:
    issued = int(now.timestamp())
    tenant = tenant_of(granted.account)
    claims = {
        "aud": granted.client_id,
        "iss": f"{LOGIN}/{tenant}/v2.0",
        "iat": issued,
        "nbf": issued,
        "exp": issued + 3600,
        "name": granted.account.partition("@")[0],
        "oid": str(uuid.uuid5(uuid.NAMESPACE_URL, granted.account)),
        "preferred_username": granted.account,
        "sub": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{granted.client_id}/{granted.account}")),
        "tid": tenant,
        "ver": "2.0",
    }
    return f"{_part({'typ': 'JWT', 'alg': 'RS256', 'kid': 'sandbox'})}.{_part(claims)}.{_part({'unsigned': True})}"


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
