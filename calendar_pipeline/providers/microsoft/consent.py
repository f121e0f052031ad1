"""Microsoft's consent: the authorize address, the code exchange, the calendar list.

Sources: "Microsoft identity platform and OAuth 2.0 authorization code flow", "List calendars" (Microsoft Learn).
One form POST instead of msal's flow object: state and verifier are kept sealed in our own table.
"""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from calendar_pipeline.errors import ContractBroken, TryLater
from calendar_pipeline.event import Platform
from calendar_pipeline.providers import consent
from calendar_pipeline.providers.consent import MOST_CHOICES, Account, Application, Choice, Consent
from calendar_pipeline.providers.json_values import objects, text
from calendar_pipeline.providers.microsoft import classify
from calendar_pipeline.providers.microsoft.oauth import calendar_scope
from calendar_pipeline.providers.port import Meter
from calendar_pipeline.providers.retry_after import retry_after
from calendar_pipeline.providers.transport import Transport

CALENDAR_SCOPES = frozenset({"calendars.read", "calendars.readwrite", "calendars.read.shared"})


class MicrosoftConsent:
    """Asks and redeems; safe to share among threads."""

    def __init__(self, transport: Transport, *, login_base_url: str, tenant: str, graph_base_url: str) -> None:
        self._transport = transport
        self._login = login_base_url.rstrip("/")
        self._oauth = f"{self._login}/{tenant}/oauth2/v2.0"
        self._graph = graph_base_url.rstrip("/")
        self._scope = calendar_scope(graph_base_url)

    @property
    def platform(self) -> Platform:
        """``microsoft``."""
        return "microsoft"

    @property
    def scopes(self) -> str:
        """What is asked for."""
        return f"openid profile email offline_access {self._scope}"

    def authorize_url(self, application: Application, *, state: str, challenge: str, login_hint: str | None) -> str:
        """The account is always asked for: people are signed in to several."""
        asked = consent.asking(
            application,
            state=state,
            challenge=challenge,
            login_hint=login_hint,
            scope=self.scopes,
            response_mode="query",
            prompt="select_account",
        )
        return f"{self._oauth}/authorize?{urlencode(asked)}"

    def redeem(self, application: Application, code: str, verifier: str, *, now: datetime, meter: Meter) -> Consent:
        """One form POST; see `ConsentProvider`."""
        form = consent.redeeming(application, code, verifier)
        answer = self._transport.request("POST", f"{self._oauth}/token", headers=consent.FORM, body=form)
        meter.count(len(answer.body))
        if answer.status in (408, 429) or answer.status >= 500:
            raise TryLater(f"token_http_{answer.status}", retry_after=retry_after(answer.headers, now=now))
        body = consent.read_object(answer.body)
        if answer.status != 200:
            raise classify.token_error(body)
        token = text(body, "access_token")
        if not token:
            raise TryLater("token_not_json")
        claims = consent.id_token_claims(
            body.get("id_token"),
            audience=application.client_id,
            issuers=(f"{self._login}/", "https://login.microsoftonline.com/", "https://sts.windows.net/"),
            now=now,
        )
        subject, tenant = text(claims, "oid") or text(claims, "sub"), text(claims, "tid") or ""
        if not subject:
            raise ContractBroken("id_token_without_subject")
        granted = {scope.rpartition("/")[2].lower() for scope in (text(body, "scope") or "").split()}
        return Consent(
            access_token=token,
            refresh_token=text(body, "refresh_token"),
            account=Account(
                id=f"{tenant}/{subject}", email=text(claims, "email") or text(claims, "preferred_username")
            ),
            may_read_calendars=bool(CALENDAR_SCOPES & granted),
        )

    def calendars(self, access_token: str, *, now: datetime, meter: Meter) -> Sequence[Choice]:
        """All pages of the account's calendars."""
        found: list[Choice] = []
        link: str | None = f"{self._graph}/v1.0/me/calendars?{urlencode({'$top': '100'})}"
        while link is not None and len(found) < MOST_CHOICES:
            if not link.startswith(f"{self._graph}/"):
                raise ContractBroken("foreign_link", "a page that lies on another host")
            headers = {
                "authorization": f"Bearer {access_token}",
                "accept": "application/json",
                "prefer": 'IdType="ImmutableId"',
            }
            answer = self._transport.request("GET", link, headers=headers)
            meter.count(len(answer.body))
            if answer.status != 200:
                raise classify.graph_error(answer.status, answer.headers, answer.body, with_cursor=False, now=now)
            body = consent.read_object(answer.body)
            for raw in objects(body, "value"):
                if identity := text(raw, "id"):
                    name = text(raw, "name") or identity
                    found.append(Choice(id=identity, name=name, is_primary=raw.get("isDefaultCalendar") is True))
            link = text(body, "@odata.nextLink")
        return consent.main_first(found)
