"""Google's authorize address: what it refuses on its own page, what it asks, what it sends back.

Works on `State`; the pages are `sandbox.consent`'s. Refusals that Google shows on a page of its own (an unknown client,
a redirect URI that is not registered letter for letter) never come back to the application.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit

from sandbox import consent
from sandbox.consent import Asked, Scope
from sandbox.google.errors import OAuthError
from sandbox.model import Client, Code, State
from sandbox.tokens import code

PATH = "/o/oauth2/v2/auth"

ALWAYS = {
    "openid": "know who you are",
    "email": "see your e-mail address",
    "profile": "see your name and picture",
    "https://www.googleapis.com/auth/userinfo.email": "see your e-mail address",
    "https://www.googleapis.com/auth/userinfo.profile": "see your name and picture",
}
"""Signing-in scopes: no box can be unticked."""

OPTIONAL = {
    "calendar": "see, change and delete all your calendars",
    "calendar.readonly": "see all your calendars and their events",
    "calendar.events": "see and change events on all your calendars",
    "calendar.events.readonly": "see events on all your calendars",
    "calendar.calendarlist.readonly": "see the list of your calendars",
}


def start(state: State, query: Mapping[str, str]) -> Asked:
    """What a person is asked; raises `OAuthError` for what Google shows on its own page."""
    client = _client(state, query)
    if query.get("response_type") != "code":
        raise OAuthError(400, "invalid_request", "The response type must be: code")
    names = query.get("scope", "").split()
    if not names:
        raise OAuthError(400, "invalid_request", "Missing required parameter: scope")
    return Asked(provider="Google", client=client.id, query=dict(query), scopes=[_scope(name) for name in names])


def page(state: State, asked: Asked) -> bytes:
    """The next page: accounts first, unless one is named, then what is asked for."""
    account = asked.query.get("account") or asked.query.get("login_hint")
    accounts = _accounts(state)
    return consent.ask(asked, account) if account in accounts else consent.choose(asked, accounts)


def decide(state: State, asked: Asked, form: Mapping[str, Sequence[str]]) -> str:
    """Where the person's answer sends the browser."""
    query = asked.query
    account = form.get("account", [""])[0]
    if form.get("answer") != ["allow"] or account not in _accounts(state):
        return _back(query, {"error": "access_denied"})
    ticked = set(form.get("scope", []))
    granted = [scope.name for scope in asked.scopes if not scope.is_optional or scope.name in ticked]
    live = [one for one in state.grants.values() if not one.revoked]
    again = any((one.account, one.client_id) == (account, query["client_id"]) for one in live)
    prompted = "consent" in query.get("prompt", "").split()
    made = code(
        state,
        Code(
            account,
            query["client_id"],
            query["redirect_uri"],
            " ".join(granted),
            query.get("access_type") == "offline" and (prompted or not again),
            query.get("code_challenge"),
            query.get("code_challenge_method", "plain"),
        ),
    )
    return _back(query, {"code": made, "scope": " ".join(granted), "authuser": "0", "prompt": "consent"})


def _accounts(state: State) -> list[str]:
    here = {one.account for one in state.calendars.values() if one.provider == "google"}
    return [account for account in state.accounts if account in here]


def _back(query: Mapping[str, str], told: Mapping[str, str]) -> str:
    given = {"state": query["state"]} if "state" in query else {}
    return f"{query['redirect_uri']}?{urlencode({**given, **told})}"


def _client(state: State, query: Mapping[str, str]) -> Client:
    client = state.clients.get(query.get("client_id", ""))
    if client is None:
        raise OAuthError(401, "invalid_client", "The OAuth client was not found.")
    given = query.get("redirect_uri", "")
    is_here = urlsplit(given).hostname in ("127.0.0.1", "localhost")
    if given not in client.redirect_uris if client.redirect_uris else not is_here:
        raise OAuthError(400, "redirect_uri_mismatch", "The redirect URI is not registered for this client.")
    return client


def _scope(name: str) -> Scope:
    if name in ALWAYS:
        return Scope(name=name, text=ALWAYS[name], is_optional=False)
    short = name.rpartition("/")[2]
    if short not in OPTIONAL:
        raise OAuthError(400, "invalid_scope", "Some requested scopes were invalid.")
    return Scope(name=name, text=OPTIONAL[short], is_optional=True)
