"""How OAuth clients fare, for every process. One function, one statement.

Kept for each project by itself: a client's id is no secret, so anyone can be refused in its name.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.ingest.guard import Pause
from calendar_pipeline.ingest.store import Claim

WINDOW = timedelta(minutes=10)
MANY = 5
"""Users of one client refused within `WINDOW` that are the client's matter unless others are granted meanwhile."""
SEVERAL = 2
"""Calendars for which the client itself was refused since its last grant, `WINDOW` ago or longer: so it is for all."""


def _key(claimed: Claim) -> dict[str, str]:
    return {"project": claimed.project_id, "platform": claimed.platform, "client": claimed.client_id}


_GRANTED = sa.text("""
    INSERT INTO oauth_client (project_id, platform, client_id, last_granted_at)
    VALUES (:project, :platform, :client, :now)
    ON CONFLICT (project_id, platform, client_id) DO UPDATE
        SET last_granted_at = excluded.last_granted_at, refused_calendars = '{}',
            paused_until = NULL, paused_code = NULL, refused_at = NULL
""")


def granted(connection: Connection, claimed: Claim, *, now: datetime) -> None:
    """Note that the client was just given a token: it is well, and any pause is over."""
    connection.execute(_GRANTED, {**_key(claimed), "now": now})


_USER_REFUSED = sa.text("""
    INSERT INTO oauth_client AS o (project_id, platform, client_id, refused_users, refusals_since)
    VALUES (:project, :platform, :client, ARRAY[:user], :now)
    ON CONFLICT (project_id, platform, client_id) DO UPDATE
        SET refused_users = CASE WHEN o.refusals_since IS NULL OR o.refusals_since <= :from THEN ARRAY[:user]
                                 WHEN :user = ANY(o.refused_users) OR cardinality(o.refused_users) >= :many
                                 THEN o.refused_users ELSE o.refused_users || :user END,
            refusals_since = CASE WHEN o.refusals_since > :from THEN o.refusals_since ELSE :now END
    RETURNING cardinality(refused_users) AS users, refusals_since, last_granted_at
""").bindparams(sa.bindparam("user", type_=sa.Text), sa.bindparam("now", type_=sa.DateTime(timezone=True)))


@dataclass(frozen=True, slots=True)
class UsersRefused:
    """How many of a client's users were refused within the window, this one included; counted up to `MANY`."""

    count: int
    since: datetime
    last_granted_at: datetime | None

    @property
    def is_the_clients_matter(self) -> bool:
        """Many users refused and none granted since: then the users are not to blame."""
        return self.count >= MANY and (self.last_granted_at is None or self.last_granted_at < self.since)


def user_refused(connection: Connection, claimed: Claim, *, now: datetime) -> UsersRefused:
    """Count the calendar's user, whose grant was refused. All calendars of an account are one user's."""
    user = hashlib.blake2b((claimed.account or claimed.id).encode(), digest_size=12).hexdigest()
    given = {**_key(claimed), "user": user, "now": now, "from": now - WINDOW, "many": MANY}
    row = connection.execute(_USER_REFUSED, given).one()
    return UsersRefused(row.users, row.refusals_since, row.last_granted_at)


_CLIENT_REFUSED = sa.text("""
    INSERT INTO oauth_client AS o (project_id, platform, client_id, refused_calendars)
    VALUES (:project, :platform, :client, ARRAY[:calendar])
    ON CONFLICT (project_id, platform, client_id) DO UPDATE
        SET refused_calendars = CASE WHEN :calendar = ANY(o.refused_calendars)
                                          OR cardinality(o.refused_calendars) >= :several
                                          OR NOT (:has_worked OR o.last_granted_at IS NULL)
                                     THEN o.refused_calendars ELSE o.refused_calendars || :calendar END
    RETURNING cardinality(refused_calendars) AS calendars, last_granted_at
""").bindparams(sa.bindparam("calendar", type_=sa.Text))


@dataclass(frozen=True, slots=True)
class ClientRefused:
    """For how many calendars a client was refused since its last grant, this one included; up to `SEVERAL`."""

    calendars: int
    last_granted_at: datetime | None

    def is_for_all(self, *, now: datetime) -> bool:
        """Whether the client is refused as a whole, and not only with what one calendar says it is."""
        is_granted = self.last_granted_at is not None and now - self.last_granted_at < WINDOW
        return self.calendars >= SEVERAL and not is_granted


def client_refused(connection: Connection, claimed: Claim) -> ClientRefused:
    """Count the calendar, whose client itself was refused.

    Once the client was ever granted a token, only a calendar that was read with its present credentials counts:
    another's secret may be mistyped, or its user where the application is not allowed.
    """
    given = {**_key(claimed), "calendar": claimed.id, "has_worked": claimed.has_worked, "several": SEVERAL}
    row = connection.execute(_CLIENT_REFUSED, given).one()
    return ClientRefused(row.calendars, row.last_granted_at)


_PAUSE = sa.text("""
    INSERT INTO oauth_client AS o (project_id, platform, client_id, paused_until, paused_code, refused_at)
    VALUES (:project, :platform, :client, :until, :code, :refused_at)
    ON CONFLICT (project_id, platform, client_id) DO UPDATE
        SET paused_until = excluded.paused_until, paused_code = excluded.paused_code, refused_at = excluded.refused_at
        WHERE o.paused_until IS NULL OR o.paused_until <= excluded.paused_until
""")


def pause(connection: Connection, claimed: Claim, pause: Pause) -> None:
    """No worker reads a calendar that the pause holds. Of two pauses the longer one stands."""
    given = {"until": pause.until, "code": pause.code, "refused_at": pause.refused_at}
    connection.execute(_PAUSE, {**_key(claimed), **given})
