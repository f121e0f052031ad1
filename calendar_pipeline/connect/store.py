"""Registered OAuth applications and connections under way, in the database. No function here commits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.connect import plan
from calendar_pipeline.connect.plan import Request
from calendar_pipeline.db.schema import calendar, calendar_account, connect_state, oauth_application, project
from calendar_pipeline.errors import NotFound
from calendar_pipeline.event import Platform
from calendar_pipeline.providers.consent import Account, Choice
from calendar_pipeline.secrets.keyring import KeyRing, Place

Stage = Literal["offered", "asked", "answered", "granted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A project's OAuth application, without its secret."""

    id: str
    project_id: str
    platform: Platform
    client_id: str
    return_urls: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A connection under way."""

    id: str
    project_id: str
    project_name: str
    stage: Stage
    request: Request
    application_id: str
    client_id: str
    client_secret: bytes = field(repr=False)
    verifier: bytes | None = field(repr=False)
    refresh_token: bytes | None = field(repr=False)
    account: Account | None
    choices: Sequence[Choice]
    expires_at: datetime


def register(
    conn: Connection,
    keyring: KeyRing,
    project_id: str,
    platform: Platform,
    *,
    client_id: str,
    client_secret: str,
    return_urls: Sequence[str],
    now: datetime,
) -> Registered:
    """The project's OAuth client for `platform` from now on; raises SetupError for a bad address.

    Its id stays the same when it is registered anew, and its secret is sealed in that place.
    """
    urls = [plan.check_return_url(url) for url in return_urls]
    row = find(conn, project_id, platform)
    identity = ids.new("app") if row is None else row.id
    values: dict[str, Any] = {
        "client_id": client_id,
        "client_secret": keyring.seal(client_secret, secret_place(identity, project_id)),
        "return_urls": urls,
        "updated_at": now,
    }
    conn.execute(
        postgresql.insert(oauth_application)
        .values(id=identity, project_id=project_id, platform=platform, created_at=now, **values)
        .on_conflict_do_update(index_elements=[oauth_application.c.id], set_=values)
    )
    return Registered(
        id=identity, project_id=project_id, platform=platform, client_id=client_id, return_urls=tuple(urls)
    )


def find(conn: Connection, project_id: str, platform: Platform) -> Registered | None:
    """The project's OAuth application for `platform`; held against a change until the transaction ends."""
    found = conn.execute(
        sa.select(oauth_application)
        .where(oauth_application.c.project_id == project_id, oauth_application.c.platform == platform)
        .with_for_update(key_share=True)
    ).one_or_none()
    return None if found is None else _registered(found)


def applications(conn: Connection) -> Sequence[Registered]:
    """Every project's OAuth applications."""
    rows = conn.execute(
        sa.select(oauth_application).order_by(oauth_application.c.project_id, oauth_application.c.platform)
    )
    return [_registered(row) for row in rows]


def remove(conn: Connection, project_id: str, platform: Platform) -> None:
    """Forget the application and the connections under way; connected calendars go on. Raises NotFound."""
    gone = conn.execute(
        sa.delete(oauth_application)
        .where(oauth_application.c.project_id == project_id, oauth_application.c.platform == platform)
        .returning(oauth_application.c.id)
    ).one_or_none()
    if gone is None:
        raise NotFound(
            f"{project_id} has no {platform} application: 'calendar-pipeline connect list' shows which there are."
        )


def offer(
    conn: Connection,
    application: Registered,
    request: Request,
    *,
    flow: str,
    token: str,
    now: datetime,
    until: datetime,
) -> None:
    """A connection that whoever shows `token` may begin before `until`. Those that ran out are forgotten."""
    expired = sa.delete(connect_state).where(connect_state.c.expires_at < now).cte("expired")
    conn.execute(
        sa.insert(connect_state)
        .values(
            id=flow,
            project_id=application.project_id,
            application_id=application.id,
            stage="offered",
            token_hash=plan.digest(token),
            return_url=request.return_url,
            return_state=request.return_state,
            user_label=request.user_label,
            login_hint=request.login_hint,
            calendar_id=request.calendar_id,
            deduplication_key=request.deduplication_key,
            metadata=sa.null() if request.metadata is None else request.metadata,
            created_at=now,
            expires_at=until,
        )
        .add_cte(expired)
    )


def advance(
    conn: Connection,
    token: str,
    *,
    platform: Platform,
    stage: Stage,
    to: Stage,
    new_token: str,
    browser: str | None,
    now: datetime,
    **values: object,
) -> Flow | None:
    """Take the connection that `token` stands for from `stage` to the next: once, in this browser, in time.

    None if there is none such. `browser` is the cookie's value; the stage ``offered`` has none yet, and sets it.
    """
    conditions = [
        connect_state.c.token_hash == plan.digest(token),
        connect_state.c.stage == stage,
        connect_state.c.expires_at > now,
        connect_state.c.application_id == oauth_application.c.id,
        connect_state.c.project_id == project.c.id,
        oauth_application.c.platform == platform,
    ]
    if stage == "offered":
        values["browser_hash"] = plan.digest(browser or "")
    else:
        conditions.append(connect_state.c.browser_hash == plan.digest(browser or ""))
    row = conn.execute(
        sa.update(connect_state)
        .where(*conditions)
        .values(stage=to, token_hash=plan.digest(new_token), **values)
        .returning(
            connect_state,
            project.c.name.label("project_name"),
            oauth_application.c.platform,
            oauth_application.c.client_id,
            oauth_application.c.client_secret,
        )
    ).one_or_none()
    return None if row is None else _flow(row)


def keep_verifier(conn: Connection, flow: str, sealed: bytes) -> None:
    """PKCE's verifier, until the provider answers."""
    conn.execute(sa.update(connect_state).where(connect_state.c.id == flow).values(verifier=sealed))


def is_waiting(conn: Connection, token: str, *, stage: Stage, now: datetime) -> bool:
    """Whether `token` would do, were it shown in the right browser."""
    return (
        conn.execute(
            sa.select(connect_state.c.id).where(
                connect_state.c.token_hash == plan.digest(token),
                connect_state.c.stage == stage,
                connect_state.c.expires_at > now,
            )
        ).one_or_none()
        is not None
    )


def grant(
    conn: Connection, flow: str, *, token: str, refresh_token: bytes, account: Account, choices: Sequence[Choice]
) -> None:
    """Keep what was allowed until the person has picked a calendar."""
    conn.execute(
        sa.update(connect_state)
        .where(connect_state.c.id == flow, connect_state.c.stage == "answered")
        .values(
            stage="granted",
            token_hash=plan.digest(token),
            refresh_token=refresh_token,
            verifier=sa.null(),
            account_id=account.id,
            account_email=account.email,
            choices=[asdict(choice) for choice in choices],
        )
    )


def offer_again(conn: Connection, flow: str, *, token: str, until: datetime) -> None:
    """Let the person try once more from the start; what was allowed so far is forgotten."""
    conn.execute(
        sa.update(connect_state)
        .where(connect_state.c.id == flow)
        .values(
            stage="offered",
            token_hash=plan.digest(token),
            browser_hash=sa.null(),
            verifier=sa.null(),
            refresh_token=sa.null(),
            account_id=sa.null(),
            account_email=sa.null(),
            choices=sa.null(),
            expires_at=until,
        )
    )


def end(conn: Connection, flow: str) -> None:
    """The connection is over, for better or worse."""
    conn.execute(sa.delete(connect_state).where(connect_state.c.id == flow))


def finish(conn: Connection, flow: str, *, token: str, calendar_id: str) -> None:
    """The connection is over, and `token` leads back from it until it runs out; what it held is forgotten."""
    forgotten = ("refresh_token", "account_id", "account_email", "choices", "user_label", "login_hint", "metadata")
    conn.execute(
        sa.update(connect_state)
        .where(connect_state.c.id == flow)
        .values(token_hash=plan.digest(token), calendar_id=calendar_id, **dict.fromkeys(forgotten, sa.null()))
    )


def finished(conn: Connection, token: str, *, platform: Platform, browser: str | None, now: datetime) -> Request | None:
    """What `token` led to, if it was used in this browser and its connection is over; with the calendar's id."""
    row = conn.execute(
        sa.select(connect_state.c.return_url, connect_state.c.return_state, connect_state.c.calendar_id).where(
            connect_state.c.token_hash == plan.digest(token),
            connect_state.c.stage == "answered",
            connect_state.c.browser_hash == plan.digest(browser or ""),
            connect_state.c.expires_at > now,
        )
    ).one_or_none()
    if row is None:
        return None
    return Request(
        platform=platform, return_url=row.return_url, return_state=row.return_state, calendar_id=row.calendar_id
    )


def target(conn: Connection, project_id: str, request: Request) -> str | None:
    """The calendar that a request means to reconnect: by its id, or by its deduplication key. Raises NotFound."""
    query = sa.select(calendar.c.id).where(calendar.c.project_id == project_id)
    if request.calendar_id is not None:
        found: str | None = conn.execute(query.where(calendar.c.id == request.calendar_id)).scalar_one_or_none()
        if found is None:
            raise NotFound(request.calendar_id)
        return found
    if request.deduplication_key is None:
        return None
    return conn.execute(query.where(calendar.c.deduplication_key == request.deduplication_key)).scalar_one_or_none()


def account(conn: Connection, calendar_id: str) -> Account | None:
    """Whose calendar it is, as far as hosted connect has seen."""
    row = conn.execute(sa.select(calendar_account).where(calendar_account.c.calendar_id == calendar_id)).one_or_none()
    return None if row is None else Account(id=row.account_id, email=row.account_email)


def note_account(conn: Connection, project_id: str, calendar_id: str, seen: Account, *, now: datetime) -> None:
    """The calendar was connected with this account."""
    values: dict[str, Any] = {"account_id": seen.id, "account_email": seen.email, "connected_at": now}
    conn.execute(
        postgresql.insert(calendar_account)
        .values(calendar_id=calendar_id, project_id=project_id, **values)
        .on_conflict_do_update(index_elements=[calendar_account.c.calendar_id], set_=values)
    )


def secret_place(application_id: str, project_id: str) -> Place:
    """Where a registered client's secret stands."""
    return Place(table="oauth_application", column="client_secret", row=application_id, project=project_id)


def flow_place(column: Literal["verifier", "refresh_token"], flow: str, project_id: str) -> Place:
    """Where a secret of a connection under way stands."""
    return Place(table="connect_state", column=column, row=flow, project=project_id)


def _registered(row: Any) -> Registered:
    return Registered(
        id=row.id,
        project_id=row.project_id,
        platform=row.platform,
        client_id=row.client_id,
        return_urls=tuple(row.return_urls),
    )


def _flow(row: Any) -> Flow:
    return Flow(
        id=row.id,
        project_id=row.project_id,
        project_name=row.project_name,
        stage=row.stage,
        request=Request(
            platform=row.platform,
            return_url=row.return_url,
            return_state=row.return_state,
            user_label=row.user_label,
            login_hint=row.login_hint,
            calendar_id=row.calendar_id,
            deduplication_key=row.deduplication_key,
            metadata=row.metadata,
        ),
        application_id=row.application_id,
        client_id=row.client_id,
        client_secret=row.client_secret,
        verifier=row.verifier,
        refresh_token=row.refresh_token,
        account=None if row.account_id is None else Account(id=row.account_id, email=row.account_email),
        choices=[Choice(**one) for one in row.choices or ()],
        expires_at=row.expires_at,
    )
