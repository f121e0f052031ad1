"""Hosted connect, step by step: offer a link, begin in a browser, take the provider's answer, pick, be done.

Each step takes the connection's token and gives the next one; a token works once, in the browser that began, within
ten minutes. The provider is asked with no transaction open. Nothing here raises for what a person or a provider did:
that comes back as `Refused`.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import CalendarPatch, NewCalendar
from calendar_pipeline.connect import plan, store
from calendar_pipeline.connect.plan import Cookie, Request, Trouble
from calendar_pipeline.connect.store import Flow
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import (
    AccessRevoked,
    CredentialUnreadable,
    DuplicateKey,
    NotFound,
    ProviderError,
    TryLater,
)
from calendar_pipeline.event import Platform
from calendar_pipeline.projects import audit
from calendar_pipeline.providers.consent import Account, Application, Consent, ConsentProvider
from calendar_pipeline.providers.port import Meter
from calendar_pipeline.providers.registry import consents
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing, Place
from calendar_pipeline.settings import Settings

log = logging.getLogger(__name__)

LIFE = timedelta(minutes=10)
DENIALS = {"access_denied", "consent_required", "interaction_required", "login_required"}
PASSING = {"server_error", "temporarily_unavailable"}


class NotRegistered(Exception):
    """The project has no OAuth application for the platform."""


class NotListed(Exception):
    """The return address is not one of the application's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A link for one person's browser."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Send the browser on to the provider, with this cookie."""

    location: str = field(repr=False)
    cookie: Cookie


@dataclass(frozen=True, slots=True, kw_only=True)
class Picking:
    """Let the person pick one of `flow.choices`; `token` goes with the choice."""

    flow: Flow
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Send the browser back to the application; `cookie` is of no use any more."""

    location: str = field(repr=False)
    cookie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It goes no further. With `flow`, we know who asked: the person can try again, or go back and say so."""

    trouble: Trouble
    flow: Flow | None = None
    again: str | None = field(default=None, repr=False)
    """Path of a fresh link, where trying again may help."""
    account: Account | None = None
    expected: Account | None = None


class _Stop(Exception):
    def __init__(
        self,
        trouble: Trouble,
        *,
        code: str | None = None,
        account: Account | None = None,
        expected: Account | None = None,
    ) -> None:
        super().__init__(trouble)
        self.trouble: Trouble = trouble
        self.code = code
        """The provider's machine code, which is the operator's to see."""
        self.account = account
        self.expected = expected


FINAL: frozenset[Trouble] = frozenset({"other_platform", "calendar_gone"})
"""Trying again changes nothing."""


class Connector:
    """All steps, over one database and the providers of this installation."""

    def __init__(
        self,
        db: Database,
        keyring: KeyRing,
        providers: Mapping[Platform, ConsentProvider],
        *,
        base_url: str,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._db = db
        self._keyring = keyring
        self._providers = providers
        self._base_url = base_url
        self._clock = clock
        self._random_bytes = random_bytes

    def offer(self, project_id: str, request: Request) -> Offered:
        """A one-time link that begins `request`; raises NotRegistered, NotListed, NotFound or SetupError."""
        plan.is_secure(self._base_url)
        now = self._clock()
        flow = ids.new("connect")
        link = self._token(flow)
        with self._db.begin() as conn:
            application = store.find(conn, project_id, request.platform)
            if application is None:
                raise NotRegistered(request.platform)
            if request.return_url not in application.return_urls:
                raise NotListed(request.return_url)
            store.target(conn, project_id, request)
            store.offer(conn, application, request, flow=flow, token=link, now=now, until=now + LIFE)
        return Offered(url=f"{self._base_url}{_path(request.platform, link)}", expires_at=now + LIFE)

    def begin(self, platform: Platform, link: str) -> Begun | Refused:
        """The person's browser came with the link."""
        if not plan.could_be_token(link):
            return Refused(trouble="used_or_expired")
        flow_id = plan.flow_of(link)
        state, browser, verifier = self._token(flow_id), self._token(flow_id), self._token(flow_id).partition(".")[2]
        with self._db.begin() as conn:
            flow = store.advance(
                conn,
                link,
                platform=platform,
                stage="offered",
                to="asked",
                new_token=state,
                browser=browser,
                now=self._clock(),
            )
            if flow is None:
                return Refused(trouble="used_or_expired")
            place = store.flow_place("verifier", flow.id, flow.project_id)
            store.keep_verifier(conn, flow.id, self._keyring.seal(verifier, place))
        cookie = Cookie(
            name=plan.cookie_name(flow.id, self._base_url), value=browser, is_secure=plan.is_secure(self._base_url)
        )
        location = self._providers[platform].authorize_url(
            self._application(flow, secret=""),
            state=state,
            challenge=plan.challenge(verifier),
            login_hint=flow.request.login_hint,
        )
        return Begun(location=location, cookie=cookie)

    def answer(
        self,
        platform: Platform,
        state: str,
        *,
        code: str | None,
        error: str | None,
        cookies: Mapping[str, str],
        request_id: str,
    ) -> Picking | Done | Refused:
        """The provider sent the browser back. The state is used up whatever comes of it, but only by this browser.

        What came of it stands in the project's audit log, under `request_id`.
        """
        with self._db.begin() as conn:
            flow = self._take(conn, platform, state, "asked", cookies)
        if isinstance(flow, Refused):
            return flow
        try:
            if code is None or error is not None:
                raise _Stop(_declined(error))
            consent = self._redeem(flow, code)
            with self._db.begin() as conn:
                if (target := store.target(conn, flow.project_id, flow.request)) is not None:
                    refresh_token = consent.refresh_token or ""
                    self._reconnect(conn, flow, target, consent.account, refresh_token)
                    store.end(conn, flow.id)
                    self._note(conn, flow, "calendar reconnected", subject=target, request_id=request_id)
                    return self._back(flow.id, flow.request, target)
            return self._ask_which(flow, consent)
        except NotFound:
            return self._refused(flow, _Stop("calendar_gone"), request_id=request_id)
        except _Stop as stop:
            return self._refused(flow, stop, request_id=request_id)

    def pick(
        self, platform: Platform, token: str, choice: str, *, cookies: Mapping[str, str], request_id: str
    ) -> Done | Refused:
        """The person picked a calendar of the account; told in the audit log as `answer` is.

        Of a button pressed twice, browsers show the second answer only: it waits for the first, and is the same.
        """
        with self._db.begin() as conn:
            flow = self._take(conn, platform, token, "granted", cookies)
            if isinstance(flow, Refused):
                browser = self._browser(token, cookies)
                done = store.finished(conn, token, platform=platform, browser=browser, now=self._clock())
                return flow if done is None else self._back(plan.flow_of(token), done, done.calendar_id)
            try:
                with conn.begin_nested():
                    made, did = self._follow(conn, flow, choice)
            except _Stop as stop:
                trouble = stop
            else:
                store.finish(conn, flow.id, token=token, calendar_id=made)
                self._note(conn, flow, f"calendar {did}", subject=made, request_id=request_id)
                return self._back(flow.id, flow.request, made)
        return self._refused(flow, trouble, request_id=request_id)

    # -- parts of the steps

    def _take(
        self, conn: Connection, platform: Platform, token: str, stage: store.Stage, cookies: Mapping[str, str]
    ) -> Flow | Refused:
        if not plan.could_be_token(token):
            return Refused(trouble="used_or_expired")
        now, flow_id = self._clock(), plan.flow_of(token)
        flow = store.advance(
            conn,
            token,
            platform=platform,
            stage=stage,
            to="answered",
            new_token=self._token(flow_id),
            browser=self._browser(token, cookies),
            now=now,
        )
        if flow is not None:
            return flow
        is_waiting = store.is_waiting(conn, token, stage=stage, now=now)
        return Refused(trouble="other_browser" if is_waiting else "used_or_expired")

    def _browser(self, token: str, cookies: Mapping[str, str]) -> str | None:
        return cookies.get(plan.cookie_name(plan.flow_of(token), self._base_url))

    def _redeem(self, flow: Flow, code: str) -> Consent:
        verifier = self._open(flow.verifier or b"", store.flow_place("verifier", flow.id, flow.project_id))
        secret = self._open(flow.client_secret, store.secret_place(flow.application_id, flow.project_id))
        provider = self._providers[flow.request.platform]
        try:
            consent = provider.redeem(
                self._application(flow, secret=secret), code, verifier, now=self._clock(), meter=Meter()
            )
        except ProviderError as error:
            raise self._stopped(flow, error) from None
        if not consent.may_read_calendars:
            raise _Stop("calendar_not_allowed", account=consent.account)
        if not consent.refresh_token:
            raise _Stop("no_refresh_token", account=consent.account)
        return consent

    def _ask_which(self, flow: Flow, consent: Consent) -> Picking:
        provider = self._providers[flow.request.platform]
        try:
            choices = provider.calendars(consent.access_token, now=self._clock(), meter=Meter())
        except ProviderError as error:
            raise self._stopped(flow, error) from None
        if not choices:
            raise _Stop("no_such_calendar", account=consent.account)
        token = self._token(flow.id)
        place = store.flow_place("refresh_token", flow.id, flow.project_id)
        sealed = self._keyring.seal(consent.refresh_token or "", place)
        with self._db.begin() as conn:
            store.grant(conn, flow.id, token=token, refresh_token=sealed, account=consent.account, choices=choices)
        return Picking(flow=replace(flow, account=consent.account, choices=choices), token=token)

    def _follow(self, conn: Connection, flow: Flow, choice: str) -> tuple[str, str]:
        """The calendar that was picked, and how it came: made, or reconnected."""
        picked = next((one for one in flow.choices if one.id == choice), None)
        if picked is None or flow.account is None or flow.refresh_token is None:
            raise _Stop("no_such_calendar")
        place = store.flow_place("refresh_token", flow.id, flow.project_id)
        refresh_token = self._open(flow.refresh_token, place)
        secret = self._open(flow.client_secret, store.secret_place(flow.application_id, flow.project_id))
        new = NewCalendar(
            platform=flow.request.platform,
            client_id=flow.client_id,
            client_secret=secret,
            refresh_token=refresh_token,
            platform_uuid=None if picked.is_primary else picked.id,
            metadata=flow.request.metadata,
            deduplication_key=flow.request.deduplication_key,
        )
        now = self._clock()
        try:
            made = calendars.create(conn, self._keyring, flow.project_id, new, now=now).id
        except DuplicateKey:  # made by someone else while this person was picking
            found = store.target(conn, flow.project_id, flow.request)
            if found is None:
                raise _Stop("calendar_gone") from None
            self._reconnect(conn, flow, found, flow.account, refresh_token)
            return found, "reconnected"
        store.note_account(conn, flow.project_id, made, flow.account, now=now)
        return made, "created"

    def _reconnect(self, conn: Connection, flow: Flow, calendar_id: str, account: Account, refresh_token: str) -> None:
        """Give the calendar the new grant, if it is the same account's. The next sync, at once, tries it."""
        calendar = calendars.get(conn, flow.project_id, calendar_id)
        known = store.account(conn, calendar_id)
        trouble = plan.reconnecting(
            calendar,
            platform=flow.request.platform,
            known_account=None if known is None else known.id,
            account=account.id,
        )
        if trouble is not None:
            raise _Stop(trouble, account=account, expected=known)
        secret = self._open(flow.client_secret, store.secret_place(flow.application_id, flow.project_id))
        change = CalendarPatch(
            client_id=flow.client_id,
            client_secret=secret,
            refresh_token=refresh_token,
            metadata=flow.request.metadata,
        )
        now = self._clock()
        calendars.patch(conn, self._keyring, flow.project_id, calendar_id, change, now=now)
        store.note_account(conn, flow.project_id, calendar_id, account, now=now)

    def _back(self, flow: str, request: Request, calendar_id: str | None) -> Done:
        location = plan.back(request.return_url, state=request.return_state, calendar_id=calendar_id)
        return Done(location=location, cookie=plan.cookie_name(flow, self._base_url))

    def _refused(self, flow: Flow, stop: _Stop, *, request_id: str) -> Refused:
        again = None
        what = f"refused: {stop.trouble}" + (f" ({stop.code})" if stop.code else "")
        with self._db.begin() as conn:
            self._note(conn, flow, what, subject=flow.request.calendar_id, request_id=request_id)
            if stop.trouble in FINAL:
                store.end(conn, flow.id)
            else:
                link = self._token(flow.id)
                store.offer_again(conn, flow.id, token=link, until=self._clock() + LIFE)
                again = _path(flow.request.platform, link)
        return Refused(trouble=stop.trouble, flow=flow, again=again, account=stop.account, expected=stop.expected)

    def _note(self, conn: Connection, flow: Flow, what: str, *, subject: str | None, request_id: str) -> None:
        audit.by_person(
            conn,
            flow.project_id,
            application=flow.application_id,
            action=f"connect {flow.request.platform}: {what}",
            subject=subject,
            request_id=request_id,
            at=self._clock(),
        )

    def _stopped(self, flow: Flow, error: ProviderError) -> _Stop:
        """What a provider's refusal means for the person; operators find its machine code in both logs."""
        kind = type(error).__name__
        log.warning("connect with %s for %s: %s (%s)", flow.request.platform, flow.project_id, kind, error.code)
        trouble: Trouble
        match error:
            case TryLater():
                trouble = "provider_busy"
            case AccessRevoked():
                trouble = "provider_refused"
            case _:
                trouble = "operator"
        return _Stop(trouble, code=error.code)

    def _application(self, flow: Flow, *, secret: str) -> Application:
        return Application(
            client_id=flow.client_id,
            client_secret=secret,
            redirect_uri=plan.redirect_uri(self._base_url, flow.request.platform),
        )

    def _open(self, sealed: bytes, place: Place) -> str:
        try:
            return self._keyring.open(sealed, place)
        except CredentialUnreadable as error:
            log.error("connect: %s", error)  # noqa: TRY400 - names table, column and key, and is no bug to trace
            raise _Stop("operator", code="credential_unreadable") from None

    def _token(self, flow: str) -> str:
        return plan.token(flow, self._random_bytes(32))


def _declined(error: str | None) -> Trouble:
    """What the provider's redirect says; its own words go nowhere."""
    if error in DENIALS:
        return "denied"
    return "provider_busy" if error in PASSING else "provider_refused"


def _path(platform: Platform, link: str) -> str:
    return f"/connect/{platform}?link={link}"


def connector(settings: Settings, db: Database, keyring: KeyRing, *, clock: Callable[[], datetime]) -> Connector:
    """The installation's steps; opens no connection until someone connects."""
    transport = Transport(timeout=min(settings.provider_timeout_seconds, 15.0))
    return Connector(db, keyring, consents(settings, transport), base_url=settings.public_url, clock=clock)
