"""Claiming calendars for a sync and recording how it went.

A claim is a lease with a fencing token: only its holder can finish, and a dead worker's lease runs out by the
database's clock. Everything that decides when a calendar is due uses the caller's clock.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.event import Platform
from calendar_pipeline.ingest.cadence import Standing
from calendar_pipeline.providers.port import Window

LEASES_OF_ACCOUNT = 3
"""Workers at once on calendars of one account, in all processes together: providers limit each mailbox."""

_IS_FREE = "(lease_until IS NULL OR lease_until < clock_timestamp())"
_CREDENTIALS_AT = "COALESCE(calendar.credentials_at, calendar.created_at)"
_CLIENT_IS_PAUSED = f"""EXISTS (SELECT FROM oauth_client o WHERE o.project_id = calendar.project_id
            AND o.platform = calendar.platform AND o.client_id = calendar.client_id AND o.paused_until > :now
            AND (o.refused_at IS NULL OR o.refused_at >= {_CREDENTIALS_AT}))"""

_HAS_ROOM = f"""(account IS NULL OR {LEASES_OF_ACCOUNT} > (
                SELECT count(DISTINCT other.lease_token) FROM calendar other
                WHERE other.account = calendar.account AND other.client_id = calendar.client_id
                  AND other.lease_until > clock_timestamp()))"""
_CLAIMED = f"""calendar.id, project_id, platform, platform_uuid, client_id, client_secret, refresh_token, account,
              access_token, access_token_expires_at, sync_token, sync_parameters, time_zone, held_from, held_until,
              relist_at, requested_gen, failures, suspected_at, quarantined, unpublished, state,
              reason, reason_since, lease_token,
              {_CREDENTIALS_AT} AS credentials_at, CAST(:now AS timestamptz) AS claimed_at,
              (SELECT json_agg(json_build_object('id', e.id, 'digest', encode(e.digest, 'hex'),
                                                 'names', encode(e.names, 'hex')) ORDER BY e.erased_at, e.id)
               FROM erasure e WHERE e.project_id = calendar.project_id AND e.digest IS NOT NULL) AS erased"""
_PUSH = """synced_gen, pushed_at, look_again, misses, missed_at, last_successful_sync_at,
              (SELECT min(n.confirmed_at) FROM notification_channel n WHERE n.calendar_id = calendar.id
                  AND n.state = 'live' AND n.expires_at > :now) AS push_since"""
"""What a claim says of push, for `cadence`."""

_CLAIM = sa.text(f"""
    WITH due AS (
        SELECT id, next_sync_at AS due_at FROM calendar
        WHERE id = ANY(:ids)
          AND {_IS_FREE}
          AND {_HAS_ROOM}
          AND (:regardless OR (next_sync_at <= :before AND NOT {_CLIENT_IS_PAUSED}))
        ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE calendar SET lease_token = :lease, lease_until = clock_timestamp() + :length
    FROM due WHERE calendar.id = due.id
    RETURNING {_CLAIMED},
              CASE WHEN :regardless THEN NULL ELSE due.due_at END AS due_at,
              {_PUSH}
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A calendar that this worker alone may sync until its lease runs out. Secrets are still sealed."""

    id: str
    project_id: str
    platform: Platform
    platform_uuid: str | None
    client_id: str
    client_secret: bytes = field(repr=False)
    refresh_token: bytes = field(repr=False)
    account: str | None = None
    access_token: bytes | None = field(repr=False)
    access_token_expires_at: datetime | None
    sync_token: str | None = field(repr=False)
    sync_parameters: str | None
    time_zone: str | None
    held_from: datetime | None
    held_until: datetime | None
    relist_at: datetime | None
    requested_gen: int
    failures: int
    suspected_at: datetime | None
    quarantined: int
    unpublished: bool
    state: str
    reason: str | None = None
    reason_since: datetime | None = None
    lease_token: uuid.UUID
    credentials_at: datetime
    """Since when the calendar has these credentials."""
    claimed_at: datetime
    due_at: datetime | None = None
    """The turn that this sync is for; None if it was not waited for."""
    synced_gen: int = 0
    pushed_at: datetime | None = None
    look_again: bool = False
    misses: int = 0
    missed_at: datetime | None = None
    last_successful_sync_at: datetime | None = None
    push_since: datetime | None = None
    erased: Sequence[Mapping[str, str | None]] | None = field(default=None, repr=False)
    """Persons whose content is not kept, as `history.persons` opens them."""

    @property
    def standing(self) -> Standing:
        """What the row says of push."""
        return Standing(
            platform=self.platform,
            requested=self.requested_gen > self.synced_gen,
            pushed_at=self.pushed_at,
            look_again=self.look_again,
            failures=self.failures,
            push_since=self.push_since,
            missed_at=self.missed_at,
            read_at=self.last_successful_sync_at,
        )

    @property
    def client(self) -> str:
        """The OAuth client, as one text."""
        return f"{self.platform}:{self.client_id}"

    @property
    def has_worked(self) -> bool:
        """Whether the calendar was ever read with the credentials that it has."""
        return self.last_successful_sync_at is not None and self.last_successful_sync_at >= self.credentials_at

    @property
    def held(self) -> Window | None:
        """The window that the last listing covered; None before the first."""
        if self.held_from is None or self.held_until is None:
            return None
        return Window(start=self.held_from, end=self.held_until)


def claim(
    connection: Connection,
    ids: Collection[str],
    *,
    regardless: bool,
    lease: uuid.UUID,
    length: timedelta,
    now: datetime,
    early: timedelta = timedelta(),
) -> list[Claim]:
    """Claim those of `ids` that are due within `early` (or all, `regardless`) and that nobody else holds."""
    rows = connection.execute(
        _CLAIM,
        {
            "ids": list(ids),
            "regardless": regardless,
            "lease": lease,
            "length": length,
            "now": now,
            "before": now + early,
        },
    )
    return [Claim(**row) for row in rows.mappings()]


_DUE = sa.text(f"""
    SELECT id, next_sync_at FROM calendar
    WHERE next_sync_at <= :before AND {_IS_FREE} AND (:all OR id = ANY(:ids)) AND NOT {_CLIENT_IS_PAUSED}
    ORDER BY next_sync_at, id LIMIT :limit
""")


def due(
    connection: Connection,
    *,
    now: datetime,
    among: Collection[str] | None = None,
    early: timedelta = timedelta(),
    limit: int | None = None,
) -> list[str]:
    """Calendars (`among` these) that are due within `early` and that nobody is working on, longest overdue first."""
    parameters = {"now": now, "before": now + early, "limit": limit, "all": among is None, "ids": list(among or ())}
    return list(connection.execute(_DUE, parameters).scalars())


def turns(connection: Connection, *, now: datetime, early: timedelta) -> dict[str, datetime]:
    """The same of all calendars, with when it is each one's turn."""
    parameters = {"now": now, "before": now + early, "limit": None, "all": True, "ids": []}
    return {row.id: row.next_sync_at for row in connection.execute(_DUE, parameters)}


_RENEW = sa.text("""
    UPDATE calendar SET lease_until = clock_timestamp() + :length
    WHERE id = ANY(:ids) AND lease_token = :lease RETURNING id
""")


def renew(connection: Connection, ids: Collection[str], *, lease: uuid.UUID, length: timedelta) -> set[str]:
    """Hold on to claims for another lease; returns those that are still ours."""
    return set(connection.execute(_RENEW, {"ids": list(ids), "lease": lease, "length": length}).scalars())


_RELEASE = sa.text("""
    UPDATE calendar SET lease_token = NULL, lease_until = NULL WHERE id = :id AND lease_token = :lease
""")


def release(connection: Connection, claimed: Claim) -> None:
    """Give a claim back without having done anything."""
    connection.execute(_RELEASE, {"id": claimed.id, "lease": claimed.lease_token})


_SAVE_GRANT = sa.text("""
    UPDATE calendar SET access_token = :access_token, access_token_expires_at = :expires_at, account = :account,
        refresh_token = :refresh_token
    WHERE id = :id AND lease_token = :lease AND refresh_token = :granted_for
""")


def save_grant(
    connection: Connection,
    claimed: Claim,
    *,
    access_token: bytes,
    expires_at: datetime,
    refresh_token: bytes,
    account: str,
) -> bool:
    """Keep a new access token, and the refresh token in place of the one that it was granted for.

    False, and nothing is written, if the claim is lost or the calendar has other credentials by now.
    """
    written = connection.execute(
        _SAVE_GRANT,
        {
            "id": claimed.id,
            "lease": claimed.lease_token,
            "granted_for": claimed.refresh_token,
            "access_token": access_token,
            "expires_at": expires_at,
            "refresh_token": refresh_token,
            "account": account,
        },
    )
    return written.rowcount == 1


RUN_COLUMNS = (
    "started_at",
    "finished_at",
    "outcome",
    "error_code",
    "mode",
    "why",
    "requests",
    "response_bytes",
    "pages",
    "items",
    "created",
    "updated",
    "deleted",
    "restored",
    "quarantined",
    "run_id",
    "drift",
    "covers_from",
    "covers_until",
    "digest",
    "token_kind",
    "cause",
    "pushed_at",
    "changed_at",
    "missed",
)


@lru_cache(maxsize=32)
def _finish(columns: tuple[str, ...]) -> sa.TextClause:
    sets = "".join(f"{name} = :set_{name}, " for name in columns)
    return sa.text(f"""
        WITH done AS (
            UPDATE calendar SET {sets} updated_at = :run_finished_at, lease_token = NULL, lease_until = NULL,
                synced_gen = GREATEST(synced_gen, CASE WHEN :served THEN :generation ELSE 0 END),
                unpublished = unpublished OR :publish,
                look_again = :look_again,
                pushed_at = CASE WHEN requested_gen > :generation AND pushed_at >= :run_started_at THEN pushed_at END,
                next_sync_at = CASE WHEN requested_gen = :generation THEN CAST(:next_sync_at AS timestamptz)
                                    WHEN pushed_at >= :run_started_at THEN CAST(:pushed_again_at AS timestamptz)
                                    ELSE LEAST(next_sync_at, :run_finished_at) END
            WHERE id = :id AND lease_token = :lease AND (NOT :revokes OR requested_gen = :generation
                  OR refresh_token = :refresh_token)
            RETURNING id, project_id
        )
        INSERT INTO sync_run (project_id, calendar_id, {", ".join(RUN_COLUMNS)})
        SELECT project_id, id, {", ".join(f":run_{name}" for name in RUN_COLUMNS)} FROM done
        RETURNING id
    """)


def finish(
    connection: Connection,
    claimed: Claim,
    *,
    sets: Mapping[str, object],
    run: Mapping[str, object],
    served: bool,
    publish: bool,
    next_sync_at: datetime | None,
    pushed_again_at: datetime | None,
    look_again: bool = False,
    revokes: bool = False,
) -> int | None:
    """End a sync: set calendar columns, give the claim back and record the attempt (`RUN_COLUMNS`).

    `served`: what was asked for up to the claim is done. A request that came in meanwhile makes the calendar due at
    once, a notification at `pushed_again_at`. Returns the sync's id, or None if the claim is lost: then nothing was
    written. So it is with `revokes` if the calendar was given another refresh token than the one that was refused.
    """
    parameters = {f"set_{name}": value for name, value in sets.items()}
    parameters |= {f"run_{name}": run[name] for name in RUN_COLUMNS}
    return connection.execute(
        _finish(tuple(sets)),
        {
            **parameters,
            "id": claimed.id,
            "lease": claimed.lease_token,
            "generation": claimed.requested_gen,
            "served": served,
            "publish": publish,
            "next_sync_at": next_sync_at,
            "pushed_again_at": pushed_again_at,
            "look_again": look_again,
            "revokes": revokes,
            "refresh_token": claimed.refresh_token,
        },
    ).scalar_one_or_none()


_PUBLISHED = sa.text("UPDATE calendar SET unpublished = false WHERE id = ANY(:ids) AND unpublished")


def published(connection: Connection, ids: Collection[str]) -> None:
    """Note that Dagster has been told of these calendars."""
    connection.execute(_PUBLISHED, {"ids": list(ids)})


_ALL = sa.text("SELECT id FROM calendar ORDER BY id")


def all_calendars(connection: Connection) -> list[str]:
    """Ids of every calendar of every project."""
    return list(connection.execute(_ALL).scalars())


_CONNECTED = sa.text("SELECT id FROM calendar WHERE state = 'connected' ORDER BY id")


def connected(connection: Connection) -> list[str]:
    """Those of them that can be read."""
    return list(connection.execute(_CONNECTED).scalars())


_WAITING = sa.text(f"""
    SELECT id, requested_gen, failures, look_again, next_sync_at FROM calendar
    WHERE (next_sync_at <= :now AND failures > 0
           OR next_sync_at <= :unseen_since AND (requested_gen > synced_gen OR look_again))
      AND {_IS_FREE} AND NOT {_CLIENT_IS_PAUSED}
    ORDER BY next_sync_at, id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Wait:
    """That a calendar waits for a sync."""

    what: str
    """Another text for each new request and each new failure."""
    since: datetime


def waiting(connection: Connection, *, now: datetime, limit: int, patience: timedelta = timedelta()) -> dict[str, Wait]:
    """Calendars with a sync asked for, or a failed one to try again, that nobody is working on.

    With `patience`, only those asked for that have been left waiting for so long.
    """
    rows = connection.execute(_WAITING, {"now": now, "limit": limit, "unseen_since": now - patience})
    return {
        row.id: Wait(
            f"{row.requested_gen}.{row.failures}" + (".again" if row.look_again else ""), since=row.next_sync_at
        )
        for row in rows
    }


_CLAIM_ASKED = sa.text(f"""
    WITH asked AS (
        SELECT id FROM calendar
        WHERE next_sync_at <= :now AND ((requested_gen > synced_gen AND failures = 0) OR look_again)
          AND {_IS_FREE} AND {_HAS_ROOM} AND NOT {_CLIENT_IS_PAUSED}
        ORDER BY next_sync_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE calendar SET lease_token = :lease, lease_until = clock_timestamp() + :length
    FROM asked WHERE calendar.id = asked.id
    RETURNING {_CLAIMED}, NULL::timestamptz AS due_at, {_PUSH}
""")


def claim_asked(
    connection: Connection, *, limit: int, lease: uuid.UUID, length: timedelta, now: datetime
) -> list[Claim]:
    """Claim calendars with a sync asked for, those that wait longest first. Failed ones belong to the sensor's runs."""
    rows = connection.execute(_CLAIM_ASKED, {"limit": limit, "lease": lease, "length": length, "now": now})
    return [Claim(**row) for row in rows.mappings()]


_ASK = sa.text("""
    UPDATE calendar SET requested_gen = requested_gen + 1, next_sync_at = :now, relist_at = LEAST(relist_at, :now)
    WHERE state = 'connected' AND (:which = 'all' OR (:which = 'failed' AND failures > 0) OR id = ANY(:ids))
""")


def ask(connection: Connection, which: str, *, now: datetime) -> int:
    """Ask for a listing of the connected calendars that are ``failed``, ``all``, or named; returns how many."""
    named = [one.strip() for one in which.split(",")]
    return connection.execute(_ASK, {"which": which, "ids": named, "now": now}).rowcount
