"""A shadow listing: what a full listing would change now, compared with what we hold. Nothing is written but tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calendar_pipeline.db.connect import new_lease
from calendar_pipeline.errors import CredentialUnreadable, LeaseLost, ProviderError
from calendar_pipeline.history.diff import diff
from calendar_pipeline.ingest import outcome, store
from calendar_pipeline.ingest.read import Ingest, read
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import Meter


@dataclass(frozen=True, slots=True)
class Deviation:
    """One event that a listing tells otherwise than we hold it."""

    provider_event_id: str
    kind: str
    announced: bool
    """Whether the next incremental sync would bring it: then it is only news, else it was lost."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result for one calendar."""

    calendar_id: str
    code: str | None
    """Why it could not be compared; None if it was."""
    deviations: Sequence[Deviation] = ()

    @property
    def lost(self) -> int:
        """Deviations that incremental sync would not mend."""
        return sum(not deviation.announced for deviation in self.deviations)


def verify(ingest: Ingest, calendars: Sequence[str]) -> Iterator[Verified]:
    """Compare each of `calendars` with a listing of its window; one that is being synced is left out."""
    for calendar in calendars:
        lease = new_lease()
        with ingest.db.single() as connection:
            claims = store.claim(
                connection, [calendar], regardless=True, lease=lease, length=ingest.lease, now=ingest.clock()
            )
        for claimed in claims:
            try:
                yield _compare(ingest, claimed)
            finally:
                with ingest.db.single() as connection:
                    store.release(connection, claimed)


def _compare(ingest: Ingest, claimed: Claim) -> Verified:
    now = ingest.clock()
    if claimed.held is None:
        return Verified(claimed.id, "never_synced")
    try:
        reading = read(ingest, claimed, Meter(), full=True, now=now)
    except (ProviderError, LeaseLost, CredentialUnreadable) as error:
        return Verified(claimed.id, error.code if isinstance(error, ProviderError) else type(error).__name__)
    changes = diff(reading.told, reading.held, horizon=claimed.held, complete=reading.news.complete)
    return Verified(
        claimed.id,
        None,
        [
            Deviation(
                change.provider_event_id,
                change.kind,
                announced=reading.news.announced is None
                or outcome.drift([change], reading.news, claimed.held, started_at=now) == 0,
            )
            for change in changes
        ],
    )
