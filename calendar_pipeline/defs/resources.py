"""What the assets and sensors of this code location open."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from calendar_pipeline.bots.run import Bots
from calendar_pipeline.db.connect import Database
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks.run import Dispatch


class Pipeline(dg.ConfigurableResource["Pipeline"]):
    """The installation, by its settings (environment or ``.env``)."""

    def settings(self) -> Settings:
        """Read anew each time: a code server lives long."""
        return Settings.load()

    @contextmanager
    def database(self, *, connections: int = 1) -> Generator[Database]:
        """A database for one tick or run."""
        from calendar_pipeline import wiring

        with wiring.database(self.settings(), connections=connections) as db:
            yield db

    @contextmanager
    def bots(self) -> Generator[Bots]:
        """All that a run needs to plan and launch bots."""
        from calendar_pipeline import wiring
        from calendar_pipeline.db import migrate

        settings = self.settings()
        with wiring.database(settings, connections=4) as db:
            migrate.check(db)
            yield wiring.bots(settings, db)

    @contextmanager
    def ingest(self, *, run_id: str) -> Generator[Ingest]:
        """All that a run needs to sync calendars."""
        from calendar_pipeline import wiring
        from calendar_pipeline.db import migrate

        settings = self.settings()
        with wiring.database(settings, connections=settings.sync_threads + 1) as db:
            migrate.check(db)
            migrate.prepare_history(db, now=wiring.utc_now())
            yield wiring.ingest(settings, db, run_id=run_id)

    @contextmanager
    def dispatch(self) -> Generator[Dispatch]:
        """All that a run needs to deliver webhooks."""
        from calendar_pipeline import wiring
        from calendar_pipeline.db import migrate

        settings = self.settings()
        with wiring.database(settings, connections=4) as db:
            migrate.check(db)
            yield wiring.dispatch(settings, db)
