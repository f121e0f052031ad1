"""Channels in the database. One function, one statement."""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.channels.plan import State
from calendar_pipeline.event import Platform
from calendar_pipeline.providers.push import Watch

_FREE = "(lease_until IS NULL OR lease_until < clock_timestamp())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel that this worker alone may do something about until its lease runs out."""

    id: str
    calendar_id: str
    project_id: str
    platform: Platform
    state: State
    remote_id: str | None
    resource_id: str | None
    created_at: datetime
    expires_at: datetime
    failures: int
    client_id: str | None
    client_secret: bytes | None = field(repr=False)
    refresh_token: bytes | None = field(repr=False)
    access_token: bytes | None = field(repr=False)
    access_token_expires_at: datetime | None
    lease_token: uuid.UUID
    follows: bool
    """Its calendar is there and connected."""

    @property
    def watch(self) -> Watch:
        """As its provider knows it."""
        return Watch(
            channel=self.id, remote_id=self.remote_id, resource_id=self.resource_id, expires_at=self.expires_at
        )

    @property
    def stoppable(self) -> bool:
        """Whether its provider's name for it is known."""
        return (self.resource_id if self.platform == "google" else self.remote_id) is not None


_WANTED = sa.text(f"""
    SELECT id FROM calendar
    WHERE channel_wanted AND state = 'connected' AND last_successful_sync_at IS NOT NULL AND failures = 0 AND {_FREE}
    ORDER BY id LIMIT :limit
""")


def wanted(connection: Connection, *, limit: int) -> list[str]:
    """Calendars that have been read well, for which no channel is kept alive."""
    return list(connection.execute(_WANTED, {"limit": limit}).scalars())


_MISSING = sa.text("""
    UPDATE calendar SET channel_wanted = true
    WHERE NOT channel_wanted AND state = 'connected'
      AND NOT EXISTS (SELECT FROM notification_channel n WHERE n.calendar_id = calendar.id
                          AND n.state IN ('asked', 'live', 'refused'))
""")


def want_missing(connection: Connection) -> int:
    """Want a channel for each calendar that has none for whatever reason; returns how many there were."""
    return connection.execute(_MISSING).rowcount


_OPEN = sa.text("""
    WITH held AS MATERIALIZED (
             SELECT id FROM notification_channel
             WHERE id = :instead_of AND lease_token = :held AND lease_until > clock_timestamp() FOR UPDATE),
         ours AS (UPDATE calendar SET channel_wanted = false
                  WHERE id = :calendar AND lease_token = :lease
                    AND CASE WHEN CAST(:instead_of AS text) IS NULL THEN channel_wanted
                             ELSE EXISTS (SELECT FROM held) END
                  RETURNING id, project_id, platform),
         refused AS (DELETE FROM notification_channel n USING ours
                     WHERE n.calendar_id = ours.id AND n.state = 'refused')
    INSERT INTO notification_channel (id, calendar_id, project_id, platform, state, token_hash, path_hash, created_at,
                                      expires_at, next_at, failures)
    SELECT :id, id, project_id, platform, 'asked', :token, :path, :now, :until, :answer_by, :failures FROM ours
""")


def open_(
    connection: Connection,
    calendar: str,
    channel: str,
    *,
    lease: uuid.UUID,
    token: bytes,
    path: bytes,
    now: datetime,
    until: datetime,
    answer_by: datetime,
    failures: int,
    instead_of: Channel | None,
) -> bool:
    """Note that a channel is about to be asked for: its first message may come before the answer.

    False if the calendar is not ours any more, or if another worker has seen to it since we looked: `instead_of`,
    the channel that calls for another one, is not ours any more; or, without one, none is wanted.
    """
    parameters = {
        "calendar": calendar, "lease": lease, "id": channel, "token": token, "path": path, "now": now, "until": until,
        "answer_by": answer_by, "failures": failures,
        "instead_of": instead_of.id if instead_of else None, "held": instead_of.lease_token if instead_of else None,
    }  # fmt: skip
    return connection.execute(_OPEN, parameters).rowcount == 1


_MADE = sa.text("""
    UPDATE notification_channel
    SET state = CASE state WHEN 'asked' THEN 'live' ELSE state END, remote_id = :remote, resource_id = :resource,
        expires_at = :expires, confirmed_at = COALESCE(confirmed_at, :confirmed), failures = 0, code = NULL,
        next_at = CASE WHEN state IN ('asked', 'live') THEN CAST(:renew_at AS timestamptz) ELSE 'epoch' END,
        lease_token = NULL, lease_until = NULL
    WHERE id = :id
""")


def made(connection: Connection, watch: Watch, *, confirmed_at: datetime | None, renew_at: datetime) -> None:
    """Keep the provider's answer. A channel whose calendar went away meanwhile is to be stopped at once."""
    connection.execute(
        _MADE,
        {
            "id": watch.channel,
            "remote": watch.remote_id,
            "resource": watch.resource_id,
            "expires": watch.expires_at,
            "confirmed": confirmed_at,
            "renew_at": renew_at,
        },
    )


_REFUSED = sa.text("""
    UPDATE notification_channel SET state = 'refused', next_at = :again_at, failures = failures + 1, code = :code
    WHERE id = :id AND state = 'asked'
""")


def refused(connection: Connection, channel: str, *, again_at: datetime | None, code: str) -> None:
    """There is no such channel; `again_at` None: and there will be none."""
    connection.execute(_REFUSED, {"id": channel, "again_at": again_at, "code": code})


_LOST = sa.text("""
    WITH lost AS (UPDATE notification_channel SET state = 'stopping', next_at = :look_at, code = :code
                  WHERE id = :id AND state = 'asked'
                  RETURNING calendar_id, project_id, platform, expires_at, failures)
    INSERT INTO notification_channel (id, calendar_id, project_id, platform, state, token_hash, path_hash, expires_at,
                                      next_at, failures, code)
    SELECT :other, calendar_id, project_id, platform, 'refused', :token, :path, expires_at, :again_at, failures + 1,
           :code
    FROM lost
""")


def lost(
    connection: Connection,
    channel: str,
    *,
    other: str,
    token: bytes,
    path: bytes,
    look_at: datetime,
    again_at: datetime,
    code: str,
) -> None:
    """The answer was lost: the channel may exist, and another one is asked for at `again_at`, as `other`."""
    parameters = {
        "id": channel, "other": other, "token": token, "path": path, "look_at": look_at, "again_at": again_at,
        "code": code,
    }  # fmt: skip
    connection.execute(_LOST, parameters)


_DROP = sa.text("DELETE FROM notification_channel WHERE id = :id")


def drop(connection: Connection, channel: str) -> None:
    """Forget a channel."""
    connection.execute(_DROP, {"id": channel})


_CLAIM = sa.text(f"""
    WITH due AS (
        SELECT id FROM notification_channel WHERE next_at <= :now AND {_FREE}
        ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE notification_channel n SET lease_token = :lease, lease_until = clock_timestamp() + :length
    FROM due WHERE n.id = due.id
    RETURNING n.id, n.calendar_id, n.project_id, n.platform, n.state, n.remote_id, n.resource_id, n.created_at,
              n.expires_at, n.failures, n.client_id, n.client_secret, n.refresh_token, n.access_token,
              n.access_token_expires_at, n.lease_token,
              EXISTS (SELECT FROM calendar c WHERE c.id = n.calendar_id AND c.state = 'connected') AS follows
""")


def claim(connection: Connection, *, limit: int, lease: uuid.UUID, length: timedelta, now: datetime) -> list[Channel]:
    """Claim channels whose time has come."""
    rows = connection.execute(_CLAIM, {"limit": limit, "lease": lease, "length": length, "now": now})
    return [Channel(**row) for row in rows.mappings()]


_RENEW = sa.text("""
    UPDATE notification_channel SET lease_until = clock_timestamp() + :length WHERE id = :id AND lease_token = :lease
""")


def renew(connection: Connection, channel: Channel, *, length: timedelta) -> bool:
    """Hold on to a claim for another lease; False if another worker has it."""
    parameters = {"id": channel.id, "lease": channel.lease_token, "length": length}
    return connection.execute(_RENEW, parameters).rowcount == 1


_POSTPONE = sa.text("""
    UPDATE notification_channel
    SET next_at = :next_at, failures = failures + :failed, code = COALESCE(:code, code),
        lease_token = NULL, lease_until = NULL
    WHERE id = :id AND lease_token = :lease
""")


def postpone(connection: Connection, channel: Channel, *, next_at: datetime, code: str | None = None) -> None:
    """Nothing came of it; with a `code` it was a failure."""
    parameters = {"id": channel.id, "lease": channel.lease_token, "next_at": next_at, "code": code}
    connection.execute(_POSTPONE, {**parameters, "failed": 0 if code is None else 1})


_SUCCEEDED = sa.text("""
    UPDATE notification_channel
    SET state = CASE state WHEN 'live' THEN 'stopping' ELSE state END,
        next_at = CASE state WHEN 'live' THEN CAST(:stop_at AS timestamptz) ELSE next_at END,
        failures = 0, code = NULL, lease_token = NULL, lease_until = NULL
    WHERE id = :id AND lease_token = :lease
""")


def succeeded(connection: Connection, channel: Channel, *, stop_at: datetime) -> bool:
    """Another channel took its place; it is stopped a little later. False if it is another worker's to replace."""
    parameters = {"id": channel.id, "lease": channel.lease_token, "stop_at": stop_at}
    return connection.execute(_SUCCEEDED, parameters).rowcount == 1


_TOO_MANY = sa.text("""
    UPDATE notification_channel SET state = 'stopping', next_at = :now WHERE id = :id AND state = 'live'
""")


def too_many(connection: Connection, channel: str, *, now: datetime) -> None:
    """Another worker sees to its calendar's channel: this one is to be stopped."""
    connection.execute(_TOO_MANY, {"id": channel, "now": now})


_END = sa.text("""
    WITH ended AS (
        UPDATE notification_channel
        SET state = 'ended', next_at = expires_at, code = :code, client_id = NULL, client_secret = NULL,
            refresh_token = NULL, access_token = NULL, access_token_expires_at = NULL,
            lease_token = NULL, lease_until = NULL
        WHERE id = :id AND lease_token = :lease
        RETURNING calendar_id
    )
    UPDATE calendar SET channel_wanted = true FROM ended
    WHERE :wanted AND calendar.id = ended.calendar_id
      AND NOT EXISTS (SELECT FROM notification_channel n
                      WHERE n.calendar_id = calendar.id AND n.id <> :id AND n.state IN ('asked', 'live'))
""")


def end(connection: Connection, channel: Channel, *, code: str | None, wanted: bool = False) -> None:
    """It is over; late messages are still known until it would have expired. `wanted`: its calendar needs one."""
    connection.execute(_END, {"id": channel.id, "lease": channel.lease_token, "code": code, "wanted": wanted})


_ASK_FOR_SYNC = sa.text("""
    UPDATE calendar SET requested_gen = requested_gen + 1, next_sync_at = LEAST(next_sync_at, :now)
    WHERE id = :id AND state = 'connected'
""")


def ask_for_sync(connection: Connection, calendar: str, *, now: datetime) -> None:
    """Nothing told us of what changed until now."""
    connection.execute(_ASK_FOR_SYNC, {"id": calendar, "now": now})


_OVERVIEW = sa.text("""
    SELECT count(*) FILTER (WHERE n.state = 'live') AS live,
           count(*) FILTER (WHERE n.state = 'live' AND n.confirmed_at IS NULL
                            AND n.created_at < CAST(:now AS timestamptz) - interval '5 minutes') AS silent,
           count(*) FILTER (WHERE n.state = 'live' AND n.expires_at < CAST(:now AS timestamptz) + interval '12 hours')
               AS expiring,
           count(*) FILTER (WHERE n.state = 'refused' AND n.next_at IS NULL) AS poll_only,
           count(*) FILTER (WHERE n.state = 'refused' AND n.next_at IS NOT NULL) AS failing,
           count(*) FILTER (WHERE n.state = 'stopping') AS stopping,
           (SELECT count(*) FROM calendar c WHERE c.state = 'connected'
              AND c.last_successful_sync_at < CAST(:now AS timestamptz) - interval '15 minutes'
              AND NOT EXISTS (SELECT FROM notification_channel o WHERE o.calendar_id = c.id
                                  AND o.state IN ('live', 'refused'))) AS missing,
           (SELECT count(*) FROM calendar c WHERE c.missed_at > CAST(:now AS timestamptz) - interval '1 day') AS missed
    FROM notification_channel n
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Channels by how they fare."""

    live: int
    silent: int
    """Live, but their first message never came: can the provider reach us?"""
    expiring: int
    """Live for less than 12 hours more: their renewal fails."""
    poll_only: int
    failing: int
    stopping: int
    missing: int
    """Connected calendars without any channel."""
    missed: int
    """Calendars with a change in the last day that push did not tell."""

    def counts(self) -> dict[str, int]:
        """All of them by name."""
        return asdict(self)


def overview(connection: Connection, *, now: datetime) -> Overview:
    """All channels, counted."""
    return Overview(**connection.execute(_OVERVIEW, {"now": now}).mappings().one())


_CODES = sa.text("""
    SELECT code, count(*) AS n FROM notification_channel WHERE code IS NOT NULL AND state IN ('live', 'refused')
    GROUP BY code ORDER BY count(*) DESC LIMIT 10
""")


def codes(connection: Connection) -> dict[str, int]:
    """The most frequent reasons why channels are not well."""
    return {row.code: row.n for row in connection.execute(_CODES)}


_SEALED = sa.text("""
    SELECT n.calendar_id, n.project_id AS project, s.column, s.value
    FROM notification_channel n,
         LATERAL (VALUES ('client_secret', n.client_secret), ('refresh_token', n.refresh_token),
                         ('access_token', n.access_token)) AS s ("column", value)
    WHERE s.value IS NOT NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A secret of a calendar that is gone or disconnected, by which its channel can still be stopped."""

    calendar_id: str
    project: str
    column: str
    value: bytes = field(repr=False)


def sealed(connection: Connection) -> list[Sealed]:
    """All of them; there are few, for a short time."""
    return [Sealed(**row) for row in connection.execute(_SEALED).mappings()]


_IS_DUE = sa.text("""
    SELECT EXISTS (SELECT FROM notification_channel WHERE next_at <= :now)
        OR (:makes AND EXISTS (SELECT FROM calendar WHERE channel_wanted AND state = 'connected'
                                   AND last_successful_sync_at IS NOT NULL AND failures = 0))
""")


def is_due(connection: Connection, *, now: datetime, makes: bool) -> bool:
    """Whether there is anything to do; with `makes`, also channels to be made."""
    return bool(connection.execute(_IS_DUE, {"now": now, "makes": makes}).scalar_one())
