"""Access tokens from Google's token endpoint.

Our own form POST instead of google-auth: errors are classified in one place and no thread sleeps in a retry.
Source: "Using OAuth 2.0 for web server applications", refreshing an access token.
"""

import base64
import json
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import urlencode

from calendar_pipeline.errors import AccessRevoked, TryLater
from calendar_pipeline.providers.google import classify
from calendar_pipeline.providers.json_values import as_object, text
from calendar_pipeline.providers.port import Credentials, Grant, Meter
from calendar_pipeline.providers.transport import Transport

EVENT_SCOPES = frozenset(
    f"https://www.googleapis.com/auth/calendar{suffix}"
    for suffix in (
        "",
        ".readonly",
        ".events",
        ".events.readonly",
        ".events.owned",
        ".events.owned.readonly",
        ".events.public.readonly",
    )
)
"""Any of these lets events.list answer for at least some calendars (Calendar API discovery document)."""


def refresh(transport: Transport, url: str, credentials: Credentials, *, now: datetime, meter: Meter) -> Grant:
    """A new access token; raises AccessRevoked, OperatorMustAct, TryLater or ContractBroken.

    Google does not rotate refresh tokens; should it ever send one, it is handed on to be stored.
    """
    form = urlencode(
        {
            "grant_type": "refresh_token",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
            "refresh_token": credentials.refresh_token,
        }
    )
    with meter.turn():
        answer = transport.request(
            "POST",
            url,
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            body=form,
        )
    meter.count(len(answer.body))
    if answer.status != 200:
        raise classify.token_error(answer.status, answer.headers, answer.body, now=now)
    try:
        body = cast("dict[str, object]", json.loads(answer.body))
        token, lifetime = body["access_token"], int(cast("int", body["expires_in"]))
        expires_at = now + timedelta(seconds=lifetime)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise TryLater("token_not_json") from None
    if not isinstance(token, str) or not token:
        raise TryLater("token_not_json")
    scope = body.get("scope")
    if isinstance(scope, str) and not EVENT_SCOPES & set(scope.split()):
        raise AccessRevoked(
            "scope_missing", body={"error": "scope_missing", "error_description": "No calendar scope was granted."}
        )
    rotated = body.get("refresh_token")
    return Grant(
        access_token=token,
        expires_at=expires_at,
        refresh_token=rotated if isinstance(rotated, str) and rotated != credentials.refresh_token else None,
        account=_account(body.get("id_token")),
    )


def _account(id_token: object) -> str | None:
    """The user's id, which comes along if the grant has the scope ``openid``; straight from Google, so not verified."""
    parts = id_token.split(".") if isinstance(id_token, str) else []
    if len(parts) != 3:
        return None
    try:
        payload: object = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return text(as_object(payload), "sub")
