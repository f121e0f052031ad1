"""Access tokens from Entra ID, by msal.

One application object per client and authority in a process, over our pooled transport; nothing is cached in msal,
since tokens live sealed in our own table. Microsoft rotates refresh tokens: what comes back is handed on to be stored.
"""

import base64
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from calendar_pipeline.errors import OperatorMustAct, TryLater
from calendar_pipeline.providers.json_values import Json, as_object, mapping, text
from calendar_pipeline.providers.microsoft import classify
from calendar_pipeline.providers.port import Credentials, Grant, Meter
from calendar_pipeline.providers.retry_after import retry_after
from calendar_pipeline.providers.transport import Transport

PUBLIC_LOGIN = "https://login.microsoftonline.com"
APPLICATIONS = 256
"""Application objects kept per process; the least recently used goes."""

CAPABILITY = "cp1"
"""Says that we answer claims challenges: access tokens then live for up to 28 hours and end when access ends.

Source: "Continuous access evaluation" (Microsoft Learn).
"""


def calendar_scope(graph_base_url: str) -> str:
    """The scope to ask for: reading calendars at the cloud's own Graph (the public one for a stand-in)."""
    host = graph_base_url.rstrip("/") if graph_base_url.startswith("https://") else "https://graph.microsoft.com"
    return f"{host}/Calendars.Read"


class Entra:
    """Refreshes tokens for any number of clients; safe to share among threads."""

    def __init__(
        self,
        transport: Transport,
        *,
        login_base_url: str,
        tenant: str,
        scope: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._base = login_base_url.rstrip("/")
        # msal insists on an https authority; where the real one is elsewhere, requests are sent there instead.
        self._authority = self._base if self._base.startswith("https://") else PUBLIC_LOGIN
        self._tenant = tenant
        self._scope = scope
        self._applications: OrderedDict[tuple[str, bytes], Any] = OrderedDict()
        self._lock = threading.Lock()

    def refresh(self, credentials: Credentials, *, now: datetime, meter: Meter, claims: str | None = None) -> Grant:
        """A new access token; raises AccessRevoked, OperatorMustAct, TryLater or ContractBroken."""
        answer = self._ask(credentials, meter, _with_capability(claims))
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(lifetime, int):
            raise classify.token_error(answer)
        rotated = answer.get("refresh_token")
        return Grant(
            access_token=token,
            expires_at=now + timedelta(seconds=lifetime),
            refresh_token=rotated if isinstance(rotated, str) and rotated != credentials.refresh_token else None,
            account=_account(answer.get("client_info")),
        )

    def _ask(self, credentials: Credentials, meter: Meter, claims: str) -> Mapping[str, object]:
        from msal.exceptions import MsalServiceError

        try:
            application = self._application(credentials, meter)
            _meter.current = meter
            answer: object = application.acquire_token_by_refresh_token(
                credentials.refresh_token, scopes=[self._scope], data={"claims": claims}
            )
        except MsalServiceError:
            raise TryLater("token_not_json") from None
        # A discovery document or an answer that is not what it should be.
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise TryLater("token_not_json") from None
        finally:
            _meter.current = None
        if not isinstance(answer, dict):
            raise TryLater("token_not_json")
        return cast("Mapping[str, object]", answer)

    def _application(self, credentials: Credentials, meter: Meter) -> Any:
        """The client's application object; making one reads the authority's discovery document."""
        import msal

        key = (credentials.client_id, hashlib.sha256(credentials.client_secret.encode()).digest())
        with self._lock:
            if key in self._applications:
                self._applications.move_to_end(key)
                return self._applications[key]
        _meter.current = meter
        made = msal.ConfidentialClientApplication(
            credentials.client_id,
            client_credential=credentials.client_secret,
            authority=f"{self._authority}/{self._tenant}",
            instance_discovery=False,
            token_cache=_no_cache(),
            http_client=_Client(self._transport, self._authority, self._base, self._clock),
            http_cache=_Forgetful(),
        )
        with self._lock:
            self._applications[key] = made
            if len(self._applications) > APPLICATIONS:
                self._applications.popitem(last=False)
        return made


class _CurrentMeter(threading.local):
    current: Meter | None = None


_meter = _CurrentMeter()
"""Whose read the msal call in this thread belongs to."""


def _no_cache() -> Any:
    import msal

    class NoCache(msal.TokenCache):
        """Keeps nothing: a cache of ten thousand users costs 45 MB and slower look-ups."""

        def add(self, event: object, now: object = None) -> None:
            """Forget at once."""

    return NoCache()


class _Forgetful(dict[Any, Any]):
    """Keeps nothing of what msal would remember of answers.

    msal answers an equal request from memory for a minute after a refusal, and so hides that the cause was mended, or
    gives an old verdict twice. When to ask again is our schedule's matter.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        """Forget at once."""


def _with_capability(claims: str | None) -> str:
    """The claims to ask for: those demanded, and always what we are capable of."""
    demanded = as_object(json.loads(claims)) if claims else {}
    capability = {"xms_cc": {"values": [CAPABILITY]}}
    return json.dumps({**demanded, "access_token": {**mapping(demanded, "access_token"), **capability}})


def _account(client_info: object) -> str | None:
    """User and tenant out of Entra's ``client_info``; None if it does not say."""
    if not isinstance(client_info, str):
        return None
    try:
        told: Json = as_object(json.loads(base64.urlsafe_b64decode(client_info + "=" * (-len(client_info) % 4))))
    except (ValueError, RecursionError):
        return None
    user, tenant = text(told, "uid"), text(told, "utid")
    return f"{user}.{tenant}" if user and tenant else None


class _Answer:
    """An HTTP answer in the words of requests, as far as msal uses them."""

    def __init__(self, status_code: int, text: str, headers: Mapping[str, str]) -> None:
        self.status_code = status_code
        self.text = text
        self.headers = headers

    def raise_for_status(self) -> None:
        """TryLater for a refusal; msal asks where it expects success."""
        if self.status_code >= 400:
            raise TryLater(f"token_http_{self.status_code}")

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.text)


class _Client:
    """msal's http client: our transport, with the authority's requests sent to the configured place."""

    def __init__(self, transport: Transport, authority: str, base: str, clock: Callable[[], datetime]) -> None:
        self._transport = transport
        self._authority = authority
        self._base = base
        self._clock = clock

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **_: object
    ) -> _Answer:
        """One GET, of a discovery document: a refusal of it means that the configured authority is not there."""
        answer = self._send("GET", f"{url}?{urlencode(params)}" if params else url, headers, None)
        if answer.status_code >= 400:
            raise OperatorMustAct(f"authority_http_{answer.status_code}", "check MICROSOFT_TENANT and its login URL")
        return answer

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> _Answer:
        """One POST of a form."""
        body = data if isinstance(data, str) or data is None else urlencode(data)
        sent = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        return self._send("POST", f"{url}?{urlencode(params)}" if params else url, sent, body)

    def close(self) -> None:
        """The transport is not ours to close."""

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None, body: str | None) -> _Answer:
        if url.startswith(self._authority):
            url = self._base + url[len(self._authority) :]
        meter = _meter.current or Meter()
        with meter.turn():
            answer = self._transport.request(method, url, headers=headers, body=body)
        meter.count(len(answer.body))
        if answer.status in (408, 429) or answer.status >= 500:
            raise TryLater(f"token_http_{answer.status}", retry_after=retry_after(answer.headers, now=self._clock()))
        return _Answer(answer.status, answer.body.decode(errors="replace"), answer.headers)
