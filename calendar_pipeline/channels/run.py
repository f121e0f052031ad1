"""Keeping channels alive: make, renew, replace, stop. What is to be done stands in the database; `plan` says what.

The provider is asked with no transaction open and with the calendar claimed, as for a sync: its access token is
refreshed by one worker at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from calendar_pipeline import ids
from calendar_pipeline.channels import plan, store
from calendar_pipeline.channels.store import Channel
from calendar_pipeline.db.connect import new_lease
from calendar_pipeline.errors import (
    AccessRevoked,
    ChannelGone,
    CredentialUnreadable,
    LeaseLost,
    OperatorMustAct,
    ProviderError,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.event import Platform
from calendar_pipeline.ingest import grants
from calendar_pipeline.ingest import store as calendars
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import Credentials, Grant, Meter, is_fresh
from calendar_pipeline.providers.push import Ask, PushProvider, Watch
from calendar_pipeline.secrets.keyring import Place

T = TypeVar("T")

LEASE = timedelta(minutes=2)
BUSY = timedelta(seconds=5)
"""A calendar that is being synced is left alone for so long."""

LOST = frozenset({"timeout", "connection_broken", "undecodable_answer", "answer_too_large", "not_json"})
"""After these the provider may have done what it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """What it takes; safe to share among threads."""

    ingest: Ingest
    push: Mapping[Platform, PushProvider]
    public_base_url: str | None
    """None: no channel is made, and those that there are get stopped."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time now."""
        return self.ingest.clock


def keep(channels: Channels, *, limit: int = 25) -> int:
    """Do what is due about channels, a few at a time; returns how many were dealt with (0: nothing is due)."""
    done = 0
    now = channels.clock()
    if channels.public_base_url is not None:
        with channels.ingest.db.single() as connection:
            wanted = store.wanted(connection, limit=limit)
        for calendar in wanted:
            done += _make(channels, calendar)
    with channels.ingest.db.single() as connection:
        due = store.claim(connection, limit=limit, lease=new_lease(), length=LEASE, now=now)
    for channel in due:
        _attend(channels, channel, now=now)
    return done + len(due)


def _attend(channels: Channels, channel: Channel, *, now: datetime) -> None:
    """Do the next thing about one channel, if it is ours still: those before it may have taken long."""
    with channels.ingest.db.single() as connection:
        if not store.renew(connection, channel, length=LEASE):
            return
    due = plan.Due(
        state=channel.state,
        renews=channels.push[channel.platform].renews,
        expires_at=channel.expires_at,
        stoppable=channel.stoppable,
        calendar_follows=channel.follows and channels.public_base_url is not None,
    )
    match plan.step(due, now=now):
        case "renew":
            _renew(channels, channel)
        case "replace" | "ask_again":
            if not _make(channels, channel.calendar_id, instead_of=channel):
                _postpone(channels, channel, BUSY)
        case "stop":
            _stop(channels, channel)
        case "give_up":
            with channels.ingest.db.single() as connection:
                store.end(connection, channel, code="answer_lost", wanted=channel.state == "asked")
        case "forget":
            with channels.ingest.db.single() as connection:
                store.drop(connection, channel.id)
        case "wait":
            _postpone(channels, channel, max(channel.expires_at - now, BUSY))


# -- making ------------------------------------------------------------------------------------------------


def _make(channels: Channels, calendar: str, *, instead_of: Channel | None = None) -> bool:
    """Ask for a channel; False if the calendar cannot be claimed now. What comes of it stands in the database.

    `instead_of`: the channel of ours that calls for it; without one the calendar is marked as wanting one. False, too,
    if another worker was first.
    """
    claimed = _claim(channels, calendar)
    if claimed is None:
        return False
    assert channels.public_base_url is not None
    failures = instead_of.failures if instead_of is not None else 0
    replaces = instead_of if instead_of is not None and instead_of.state == "live" else None
    now = channels.clock()
    secrets, name = plan.Secrets.new(), ids.new("chn")
    until = now + plan.LIFE[claimed.platform]
    ask = Ask(
        channel=name,
        address=plan.address(channels.public_base_url, claimed.platform, secrets.path),
        token=secrets.token,
        until=until,
    )
    try:
        with channels.ingest.db.single() as connection:
            if not store.open_(
                connection,
                calendar,
                name,
                lease=claimed.lease_token,
                token=plan.hashed(secrets.token),
                path=plan.hashed(secrets.path),
                now=now,
                until=until,
                answer_by=now + plan.ANSWER,
                failures=failures,
                instead_of=instead_of,
            ):
                return False
        channels.ingest.crash("asked")
        push = channels.push[claimed.platform]
        watch = _with_grant(
            channels,
            claimed,
            lambda grant, meter: push.watch(grant, claimed.platform_uuid, ask, meter=meter),
        )
    except LeaseLost:
        return False
    except (ProviderError, CredentialUnreadable) as error:
        _refused(channels, claimed, name, error, failures=failures + 1, replaces=replaces)
    else:
        channels.ingest.crash("watched")
        _made(channels, claimed, watch, replaces=replaces, asked_at=now)
    finally:
        with channels.ingest.db.single() as connection:
            calendars.release(connection, claimed)
    return True


def _made(channels: Channels, claimed: Claim, watch: Watch, *, replaces: Channel | None, asked_at: datetime) -> None:
    now = channels.clock()
    with channels.ingest.db.begin() as connection:
        store.made(
            connection,
            watch,
            # Graph has asked our address before it answered; of Google we know it by the first message.
            confirmed_at=now if channels.push[claimed.platform].renews else None,
            renew_at=plan.renew_at(watch.channel, made_at=asked_at, expires_at=watch.expires_at),
        )
        if replaces is not None and not store.succeeded(connection, replaces, stop_at=now + plan.OVERLAP):
            store.too_many(connection, watch.channel, now=now)
        if replaces is None or replaces.expires_at <= now:
            store.ask_for_sync(connection, claimed.id, now=now)  # what changed until now, nobody told us


def _refused(
    channels: Channels,
    claimed: Claim,
    name: str,
    error: ProviderError | CredentialUnreadable,
    *,
    failures: int,
    replaces: Channel | None,
) -> None:
    now = channels.clock()
    refusal = plan.refused(error, name, failures)
    again_at = now + refusal.again_after if refusal.again_after is not None else None
    lost = isinstance(error, TryLater) and error.code in LOST
    with channels.ingest.db.begin() as connection:
        if replaces is not None and replaces.expires_at > now:
            store.postpone(connection, replaces, next_at=again_at or replaces.expires_at, code=refusal.code)
            store.drop(connection, name)
        elif lost:
            stand_in = plan.Secrets.new()
            store.lost(
                connection,
                name,
                other=ids.new("chn"),
                token=plan.hashed(stand_in.token),
                path=plan.hashed(stand_in.path),
                look_at=now + plan.ANSWER,
                again_at=again_at or now,
                code=refusal.code,
            )
        else:
            store.refused(connection, name, again_at=again_at, code=refusal.code)
        is_cut_off = replaces is not None and replaces.expires_at <= now
        if replaces is not None and is_cut_off:
            store.end(connection, replaces, code=refusal.code)
        if refusal.ask_for_sync or is_cut_off:  # without push it is polled more often again, from this sync on
            store.ask_for_sync(connection, claimed.id, now=now)


# -- renewing and stopping ---------------------------------------------------------------------------------


def _renew(channels: Channels, channel: Channel) -> None:
    claimed = _claim(channels, channel.calendar_id)
    if claimed is None:
        _postpone(channels, channel, BUSY)
        return
    now = channels.clock()
    push, until = channels.push[channel.platform], now + plan.LIFE[channel.platform]
    try:
        watch = _with_grant(
            channels, claimed, lambda grant, meter: push.renew(grant, channel.watch, until=until, meter=meter)
        )
    except LeaseLost:
        _postpone(channels, channel, BUSY)
    except ChannelGone as gone:
        with channels.ingest.db.begin() as connection:
            store.end(connection, channel, code=gone.code, wanted=True)
            store.ask_for_sync(connection, channel.calendar_id, now=now)
    except (ProviderError, CredentialUnreadable) as error:
        refusal = plan.refused(error, channel.id, channel.failures + 1)
        _postpone(channels, channel, refusal.again_after or plan.REVOKED_AGAIN, code=refusal.code)
    else:
        with channels.ingest.db.single() as connection:
            store.made(
                connection,
                watch,
                confirmed_at=None,
                renew_at=plan.renew_at(channel.id, made_at=now, expires_at=watch.expires_at),
            )
    finally:
        with channels.ingest.db.single() as connection:
            calendars.release(connection, claimed)


def _stop(channels: Channels, channel: Channel) -> None:
    """Tell the provider, with the calendar's token or with the copies that outlived it. After some attempts let be."""
    push = channels.push[channel.platform]
    claimed = _claim(channels, channel.calendar_id) if channel.follows else None
    if channel.follows and claimed is None:
        _postpone(channels, channel, BUSY)
        return
    try:
        if claimed is not None:
            _with_grant(channels, claimed, lambda grant, meter: push.stop(grant, channel.watch, meter=meter))
        else:
            _stop_alone(channels, channel, push)
    except LeaseLost:
        _postpone(channels, channel, BUSY)
    except TryLater as error:
        if channel.failures + 1 < plan.MOST_STOPS:
            _postpone(channels, channel, plan.backoff(channel.id, channel.failures + 1), code=error.code)
        else:
            _end(channels, channel, error.code)
    except (ProviderError, CredentialUnreadable) as error:
        _end(channels, channel, getattr(error, "code", "credential_unreadable"))
    else:
        _end(channels, channel, None)
    finally:
        if claimed is not None:
            with channels.ingest.db.single() as connection:
                calendars.release(connection, claimed)


def _stop_alone(channels: Channels, channel: Channel, push: PushProvider) -> None:
    """Stop a channel whose calendar is deleted or disconnected, with what is left of its access."""
    now = channels.clock()
    meter = _meter(channels, f"{channel.platform}:{channel.client_id}", channel.calendar_id)
    grant = None
    if channel.access_token is not None and channel.access_token_expires_at is not None:
        token = channels.ingest.keyring.open(channel.access_token, _place(channel, "access_token"))
        grant = Grant(access_token=token, expires_at=channel.access_token_expires_at)
    if grant is not None and is_fresh(grant, now=now):
        try:
            push.stop(grant, channel.watch, meter=meter)
        except TokenRefused:
            pass
        else:
            return
    if channel.client_id is None or channel.client_secret is None or channel.refresh_token is None:
        raise AccessRevoked("disconnected")
    credentials = Credentials(
        client_id=channel.client_id,
        client_secret=channels.ingest.keyring.open(channel.client_secret, _place(channel, "client_secret")),
        refresh_token=channels.ingest.keyring.open(channel.refresh_token, _place(channel, "refresh_token")),
    )
    provider = channels.ingest.providers[channel.platform]
    push.stop(provider.authorize(credentials, now=now, meter=meter), channel.watch, meter=meter)


# -- parts -------------------------------------------------------------------------------------------------


def _claim(channels: Channels, calendar: str) -> Claim | None:
    with channels.ingest.db.single() as connection:
        claims = calendars.claim(
            connection, [calendar], regardless=True, lease=new_lease(), length=LEASE, now=channels.clock()
        )
    return claims[0] if claims else None


def _with_grant(channels: Channels, claimed: Claim, act: Callable[[Grant, Meter], T]) -> T:
    """`act` with the calendar's access token; one that is refused before its time is replaced once."""
    ingest, now = channels.ingest, channels.clock()
    meter = _meter(channels, claimed.client, claimed.account or claimed.id)
    if (pause := grants.paused(ingest, claimed, now=now)) is not None:
        raise TryLater(pause.code, retry_after=pause.until - now)
    provider = ingest.providers.get(claimed.platform)
    if provider is None:
        raise OperatorMustAct("no_provider")
    return grants.with_grant(ingest, claimed, provider, meter, lambda grant, _: act(grant, meter), now=now)[0]


def _meter(channels: Channels, client: str, account: str) -> Meter:
    return Meter(turn=lambda: channels.ingest.guard.turn(client, account))


def _place(channel: Channel, column: str) -> Place:
    """Where a copied credential stood in its calendar's row."""
    return Place(table="calendar", column=column, row=channel.calendar_id, project=channel.project_id)


def _postpone(channels: Channels, channel: Channel, wait: timedelta, *, code: str | None = None) -> None:
    with channels.ingest.db.single() as connection:
        store.postpone(connection, channel, next_at=channels.clock() + wait, code=code)


def _end(channels: Channels, channel: Channel, code: str | None) -> None:
    with channels.ingest.db.single() as connection:
        store.end(connection, channel, code=code, wanted=channel.state == "asked")
