"""Entra's authorize address: what it refuses on its own page, what it asks, what it sends back.

Works on `State`; the pages are `sandbox.consent`'s. The real consent is all or nothing for work accounts; here a scope
can be unticked all the same, since an application must survive a grant that lacks one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from sandbox import consent
from sandbox.consent import Asked, Scope
from sandbox.microsoft.errors import EntraError
from sandbox.model import Code, State
from sandbox.tokens import code

ALWAYS = {
    "openid": "sign you in",
    "profile": "see your basic profile",
    "email": "see your e-mail address",
    "offline_access": "keep access to what you have given it access to",
}
OPTIONAL = {
    "calendars.read": "read your calendars",
    "calendars.readwrite": "read and change your calendars",
    "calendars.read.shared": "read calendars that you can access",
    "user.read": "read your profile",
}


def start(state: State, query: Mapping[str, str]) -> Asked:
    """What a person is asked; raises `EntraError` for what Entra shows on its own page."""
    client = state.clients.get(query.get("client_id", ""))
    if client is None:
        message = (
            f"Application with identifier '{query.get('client_id', '')}' was not found in the directory 'Sandbox'."
        )
        raise EntraError(400, "unauthorized_client", 700016, message)
    given = query.get("redirect_uri", "")
    is_here = urlsplit(given).hostname in ("127.0.0.1", "localhost")
    if given not in client.redirect_uris if client.redirect_uris else not is_here:
        message = "The redirect URI specified in the request does not match those configured for the application."
        raise EntraError(400, "invalid_request", 50011, message)
    if query.get("response_type") != "code" or not query.get("scope", "").split():
        raise EntraError(400, "invalid_request", 900144, "The request must contain 'response_type' and 'scope'.")
    scopes = [_scope(name) for name in query["scope"].split()]
    return Asked(provider="Microsoft", client=client.id, query=dict(query), scopes=scopes)


def page(state: State, asked: Asked) -> bytes:
    """The next page: accounts first, unless one is named, then what is asked for."""
    accounts = _accounts(state)
    hint = None if asked.query.get("prompt") == "select_account" else asked.query.get("login_hint")
    account = asked.query.get("account") or hint
    return consent.ask(asked, account) if account in accounts else consent.choose(asked, accounts)


def decide(state: State, asked: Asked, form: Mapping[str, Sequence[str]], *, now: datetime) -> str:
    """Where the person's answer sends the browser."""
    query = asked.query
    account = form.get("account", [""])[0]
    if form.get("answer") != ["allow"] or account not in _accounts(state):
        text = "AADSTS65004: User declined to consent to access the app."
        return _back(query, {"error": "access_denied", "error_description": text})
    ticked = set(form.get("scope", []))
    granted = [scope.name for scope in asked.scopes if not scope.is_optional or scope.name in ticked]
    made = Code(
        account,
        query["client_id"],
        query["redirect_uri"],
        " ".join(granted),
        "offline_access" in granted,
        query.get("code_challenge"),
        query.get("code_challenge_method", "plain"),
        provider="microsoft",
        issued_at=now,
    )
    return _back(query, {"code": code(state, made), "session_state": "sandbox"})


def _back(query: Mapping[str, str], told: Mapping[str, str]) -> str:
    given = {"state": query["state"]} if "state" in query else {}
    return f"{query['redirect_uri']}?{urlencode({**told, **given})}"


def _accounts(state: State) -> list[str]:
    here = {one.account for one in state.calendars.values() if one.provider == "microsoft"}
    return [account for account in state.accounts if account in here]


def _scope(name: str) -> Scope:
    if name in ALWAYS:
        return Scope(name=name, text=ALWAYS[name], is_optional=False)
    short = name.rpartition("/")[2].lower()
    if short not in OPTIONAL:
        message = f"The application asked for scope '{name}' that doesn't exist on the resource."
        raise EntraError(400, "invalid_client", 650053, message)
    return Scope(name=name, text=OPTIONAL[short], is_optional=True)
