"""How OAuth clients fare, for every process. One function, one statement."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

WINDOW = timedelta(minutes=10)
MANY = 5
"""Grants of one client refused within `WINDOW` that are the client's matter unless others are granted meanwhile."""

_GRANTED = sa.text("""
    INSERT INTO oauth_client (platform, client_id, last_granted_at) VALUES (:platform, :client, :now)
    ON CONFLICT (platform, client_id) DO UPDATE
        SET last_granted_at = excluded.last_granted_at, paused_until = NULL, paused_code = NULL
""")


def granted(connection: Connection, platform: str, client: str, *, now: datetime) -> None:
    """Note that the client was just given a token: it is well, and any pause is over."""
    connection.execute(_GRANTED, {"platform": platform, "client": client, "now": now})


_REFUSED = sa.text("""
    INSERT INTO oauth_client (platform, client_id, refusals, refusals_since) VALUES (:platform, :client, 1, :now)
    ON CONFLICT (platform, client_id) DO UPDATE
        SET refusals = CASE WHEN oauth_client.refusals_since > :from THEN oauth_client.refusals + 1 ELSE 1 END,
            refusals_since = CASE WHEN oauth_client.refusals_since > :from THEN oauth_client.refusals_since
                                  ELSE :now END
    RETURNING refusals, refusals_since, last_granted_at
""")


@dataclass(frozen=True, slots=True)
class Refusals:
    """Grants of a client refused within the window, this one included."""

    count: int
    since: datetime
    last_granted_at: datetime | None

    @property
    def is_the_clients_matter(self) -> bool:
        """Many users refused and none granted since: then the users are not to blame."""
        return self.count >= MANY and (self.last_granted_at is None or self.last_granted_at < self.since)


def refused(connection: Connection, platform: str, client: str, *, now: datetime) -> Refusals:
    """Count one user's refused grant."""
    row = connection.execute(_REFUSED, {"platform": platform, "client": client, "now": now, "from": now - WINDOW}).one()
    return Refusals(row.refusals, row.refusals_since, row.last_granted_at)


_PAUSE = sa.text("""
    INSERT INTO oauth_client (platform, client_id, paused_until, paused_code) VALUES (:platform, :client, :until, :code)
    ON CONFLICT (platform, client_id) DO UPDATE
        SET paused_until = GREATEST(oauth_client.paused_until, excluded.paused_until),
            paused_code = excluded.paused_code
""")


def pause(connection: Connection, platform: str, client: str, *, until: datetime, code: str) -> None:
    """No worker reads a calendar of this client before `until`."""
    connection.execute(_PAUSE, {"platform": platform, "client": client, "until": until, "code": code})
