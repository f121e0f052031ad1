"""All that the live path does, and how its parts are put together."""

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from queue import SimpleQueue

from calendar_pipeline import wiring
from calendar_pipeline.bots import run as bots
from calendar_pipeline.channels import run as channels
from calendar_pipeline.db import migrate
from calendar_pipeline.errors import SetupError
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.live.run import Live
from calendar_pipeline.live.stage import Stage, polled
from calendar_pipeline.live.syncs import Syncs
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import run as webhooks
from calendar_pipeline.webhooks.run import Dispatch

log = logging.getLogger(__name__)

BOTS_EVERY = 0.5
CHANNELS_EVERY = 1.0
FOREVER = timedelta(days=365)


def stages(settings: Settings, ingest: Ingest, outcomes: SimpleQueue[Outcome]) -> list[Stage]:
    """One line each. All of them claim what they do, so that any number of live runs and Dagster runs get along."""
    kept = wiring.channels(settings, ingest)
    dispatch = wiring.dispatch(settings, ingest.db, clock=ingest.clock)
    syncs = Syncs(ingest, threads=settings.sync_threads, every=settings.live_poll_seconds, done=outcomes.put)
    return [
        syncs.stage,
        polled("channels", lambda: channels.keep(kept), every=CHANNELS_EVERY),
        *_bots(settings, ingest),
        Stage("webhooks", lambda stop: deliver_until(stop, dispatch)),
    ]


def deliver_until(stop: threading.Event, dispatch: Dispatch) -> None:
    """Deliver what is due and what becomes due, until `stop` is set."""
    webhooks.deliver(dispatch, linger=FOREVER, stop=stop)


def _bots(settings: Settings, ingest: Ingest) -> list[Stage]:
    """None if the runner is not set up: that is no reason to leave calendars alone."""
    try:
        planned = wiring.bots(settings, ingest.db, clock=ingest.clock)
    except SetupError as refusal:
        log.warning("The live path runs without bots: %s", refusal)
        return []
    return [polled("bots", lambda: bots.work(planned).total, every=BOTS_EVERY)]


@contextmanager
def opened(
    settings: Settings, *, run_id: str | None = None, publish: Callable[[Sequence[Outcome]], None] | None = None
) -> Generator[Live]:
    """A live run that can start."""
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    with wiring.database(settings, connections=settings.sync_threads + 6) as db:
        migrate.check(db)
        migrate.prepare_history(db, now=wiring.utc_now())
        ingest = wiring.ingest(settings, db, run_id=run_id)
        yield Live(
            db=db,
            stages=stages(settings, ingest, outcomes),
            outcomes=outcomes,
            places=max(1, settings.live_runs),
            lifetime=timedelta(minutes=settings.live_lifetime_minutes),
            run_id=run_id,
            publish=publish or (lambda _outcomes: None),
        )
