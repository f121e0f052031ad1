"""Google's consent: the authorize address, the code exchange, the calendar list.

Sources: "Using OAuth 2.0 for web server applications"; Calendar API, CalendarList: list.
"""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from calendar_pipeline.errors import ContractBroken, ProviderError, TryLater
from calendar_pipeline.event import Platform
from calendar_pipeline.providers import consent
from calendar_pipeline.providers.consent import MOST_CHOICES, Account, Application, Choice, Consent
from calendar_pipeline.providers.google import classify
from calendar_pipeline.providers.google.oauth import EVENT_SCOPES
from calendar_pipeline.providers.json_values import Json, objects, text
from calendar_pipeline.providers.port import Meter
from calendar_pipeline.providers.transport import Transport

SCOPES = ("openid", "email", "https://www.googleapis.com/auth/calendar.readonly")
"""``calendar.readonly`` lets events be read and watched and calendars be listed; narrower scopes lack the list."""

ISSUERS = ("https://accounts.google.com", "accounts.google.com")


class GoogleConsent:
    """Asks and redeems; safe to share among threads."""

    def __init__(self, transport: Transport, *, authorize_url: str, token_url: str, api_base_url: str) -> None:
        self._transport = transport
        self._authorize_url = authorize_url
        self._token_url = token_url
        self._list_url = f"{api_base_url.rstrip('/')}/calendar/v3/users/me/calendarList"

    @property
    def platform(self) -> Platform:
        """``google``."""
        return "google"

    def authorize_url(self, application: Application, *, state: str, challenge: str, login_hint: str | None) -> str:
        """Always with the consent screen: without it Google gives a refresh token only the first time."""
        asked = consent.asking(
            application,
            state=state,
            challenge=challenge,
            login_hint=login_hint,
            scope=" ".join(SCOPES),
            access_type="offline",
            prompt="consent",
        )
        return f"{self._authorize_url}?{urlencode(asked)}"

    def redeem(self, application: Application, code: str, verifier: str, *, now: datetime, meter: Meter) -> Consent:
        """One form POST; see `ConsentProvider`."""
        form = consent.redeeming(application, code, verifier)
        answer = self._transport.request("POST", self._token_url, headers=consent.FORM, body=form)
        meter.count(len(answer.body))
        if answer.status != 200:
            raise classify.token_error(answer.status, answer.headers, answer.body, now=now)
        body = consent.read_object(answer.body)
        token = text(body, "access_token")
        if not token:
            raise TryLater("token_not_json")
        claims = consent.id_token_claims(body.get("id_token"), audience=application.client_id, issuers=ISSUERS, now=now)
        subject = text(claims, "sub")
        if not subject:
            raise ContractBroken("id_token_without_subject")
        return Consent(
            access_token=token,
            refresh_token=text(body, "refresh_token"),
            account=Account(id=subject, email=text(claims, "email")),
            may_read_calendars=bool(EVENT_SCOPES & set((text(body, "scope") or "").split())),
        )

    def calendars(self, access_token: str, *, now: datetime, meter: Meter) -> Sequence[Choice]:
        """All pages of the calendar list; calendars of which only free and busy times are shown are left out."""
        found: list[Choice] = []
        page: str | None = None
        while len(found) < MOST_CHOICES:
            body = self._page(access_token, page, now=now, meter=meter)
            for raw in objects(body, "items"):
                identity = text(raw, "id")
                if identity and raw.get("accessRole") != "freeBusyReader" and raw.get("deleted") is not True:
                    name = text(raw, "summaryOverride") or text(raw, "summary") or identity
                    primary = raw.get("primary") is True
                    found.append(Choice(id=identity, name=name, is_primary=primary, time_zone=text(raw, "timeZone")))
            page = text(body, "nextPageToken")
            if page is None:
                break
        return consent.main_first(found)

    def _page(self, access_token: str, page: str | None, *, now: datetime, meter: Meter) -> Json:
        query = {"maxResults": "250", "minAccessRole": "reader", "prettyPrint": "false"}
        if page is not None:
            query["pageToken"] = page
        answer = self._transport.request(
            "GET", f"{self._list_url}?{urlencode(query)}", headers={"authorization": f"Bearer {access_token}"}
        )
        meter.count(len(answer.body))
        if answer.status != 200:
            refused: ProviderError = classify.api_error(
                answer.status, answer.headers, answer.body, with_cursor=False, now=now
            )
            raise refused
        return consent.read_object(answer.body)
