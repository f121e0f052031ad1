"""An erased person is found by no read of the API, no export and no dump of the tables."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from calendar_pipeline.bots import store as bots
from calendar_pipeline.bots.model import NewBot
from calendar_pipeline.db.connect import Database
from calendar_pipeline.export.relation import RELATIONS
from calendar_pipeline.export.write import export
from calendar_pipeline.history import erase, proof
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import subscriptions
from calendar_pipeline.webhooks.model import NewSubscription
from sandbox.server import Running, running

EVE, NAME = "eve.canary@example.com", "Eve Canary"
MEET = "https://meet.google.com/abc-defg-hij"

TELLING = {
    "/api/v1/bots", "/api/v1/bots/{bot_id}", "/api/v1/calendar_events", "/api/v1/calendar_events/{event_id}",
    "/api/v1/calendar_events/{event_id}/history", "/api/v1/calendar_events_as_of", "/api/v1/calendars",
    "/api/v1/calendars/{calendar_id}", "/api/v1/event_changes", "/api/v1/webhook_deliveries/{delivery_id}",
}  # fmt: skip
"""Reads that named her before; those that never name anybody are asked as well."""


class Place:
    """A project in which everything names Eve: events over two versions, a bot, a calendar, deliveries."""

    def __init__(
        self, sandbox: Running, follow: Any, ingest: Ingest, db: Database, ring: KeyRing, project: str
    ) -> None:
        self.db, self.project, self.ingest = db, project, ingest
        self.now = ingest.clock()
        with db.begin() as connection:
            projects.set_webhook_secret(connection, ring, project, now=self.now)
            told = NewSubscription(
                url="https://hooks.example/x", content="changes",
                triggers=["calendar.events_update", "bot.state_change"],
            )  # fmt: skip
            [subscription] = subscriptions.create(connection, ring, project, [told], now=self.now)
            self.key = projects.create_key(connection, project, now=self.now).secret
        google = sandbox.create_calendars(1, 0)[0]
        [self.calendar] = follow([google])
        eve = {"email": EVE, "displayName": NAME, "responseStatus": "needsAction"}
        made = sandbox.create_event(
            google.calendar_id,
            start=(self.now + timedelta(hours=3)).isoformat(),
            title=f"Talk with {NAME}",
            description=f"Call mailto:{EVE}",
            link=MEET,
            fields={"attendees": [eve]},
        )
        self.sync()
        with db.begin() as connection:
            connection.execute(sa.text("UPDATE calendar SET metadata = :told"), {"told": json.dumps({"boss": EVE})})
            self.event = connection.execute(sa.text("SELECT id FROM calendar_event")).scalar_one()
            event = bots.event(connection, project, self.event)
            new = NewBot(
                name=f"Notes for {NAME}", meeting_url=MEET, join_at=event.starts_at, event=event,
                metadata={"host": EVE, "note": f"{NAME} asked"}, deduplication_key=EVE,
            )  # fmt: skip
            self.bot = bots.create(connection, ring, project, new, now=self.now).id
        sandbox.retitle_event(google.calendar_id, made["id"], f"Call with {EVE}")
        self.sync()
        with db.single() as connection:
            named = sa.text("SELECT id FROM webhook_delivery WHERE encode(body, 'escape') LIKE :eve LIMIT 1")
            delivery = connection.execute(named, {"eve": f"%{EVE}%"}).scalar_one()
        self.ids = {
            "/calendars/": self.calendar,
            "/bots/": self.bot,
            "/calendar_events/": self.event,
            "/webhooks/": subscription.id,
            "/webhook_deliveries/": delivery,
        }

    def sync(self) -> None:
        [outcome] = sync_many(self.ingest, [self.calendar], threads=1, regardless=True)
        assert outcome.status == "synced"

    def reads(self, app: Litestar) -> dict[str, str]:
        """Path of each GET that needs a key → its answer."""
        found = {}
        with TestClient(app, base_url="http://testserver.local") as client:
            client.headers["Authorization"] = f"Token {self.key}"
            client.put("/api/v1/bot_rules", json={"bot": {"name": "Notes"}, "project": "none"}).raise_for_status()
            document = client.get("/openapi.json").json()
            for path, item in document["paths"].items():
                if "get" not in item or item["get"].get("security") == []:
                    continue
                where = path
                for before, known in self.ids.items():
                    head, found_it, tail = where.partition(before + "{")
                    where = head + before + known + tail.partition("}")[2] if found_it else where
                query = {"calendar_id": self.calendar, "as_of": self.now.isoformat()} if "as_of" in path else {}
                answer = client.get(where, params=query)
                assert answer.status_code == 200, (where, answer.text)
                found[path] = answer.text
        return found


@pytest.fixture
def place(
    follow: Any, ingest: Callable[[Running], Ingest], db: Database, keyring: KeyRing, project_id: str, clock: Any
) -> Iterator[Place]:
    from sandbox.model import State
    from sandbox.world import World

    with running(World(State(epoch="erasure"), clock=clock)) as sandbox:
        yield Place(sandbox, follow, ingest(sandbox), db, keyring, project_id)


@pytest.fixture
def app(db: Database, keyring: KeyRing, clock: Any) -> Litestar:
    return create_app(Settings(_env_file=None), db=db, keyring=keyring, clock=clock)


def naming(texts: dict[str, str]) -> set[str]:
    return {name for name, text in texts.items() if EVE in text.casefold() or NAME.casefold() in text.casefold()}


def exported(root: Path) -> set[str]:
    """Exported files in which she is named, in a column or in a footer."""
    files = {}
    for file in root.rglob("*.parquet"):
        table = pq.read_table(file, partitioning=None)
        files[file.relative_to(root).parts[0]] = f"{table.to_pylist()} {table.schema.metadata}"
    return naming(files)


def test_an_erased_person_is_found_by_no_read_export_or_dump(
    place: Place, app: Litestar, find: Any, tmp_path: Path
) -> None:
    for relation in RELATIONS.values():
        export(place.db, relation, str(tmp_path))
    before = place.reads(app)
    assert naming(before) >= TELLING, TELLING - naming(before)
    assert exported(tmp_path) == {"event_history", "event_version", "calendar_event", "meeting"}
    assert {"bot", "calendar", "calendar_event", "event_history", "webhook_delivery"} <= set(find(place.db, EVE))

    with place.db.begin() as connection:
        erased = erase.person(connection, place.ingest.keyring, place.project, EVE, names=[NAME], now=place.now)

    after = place.reads(app)
    assert after.keys() == before.keys()
    assert naming(after) == set()
    assert erased.id in after["/api/v1/calendar_events/{event_id}"], "she is there by her alias"
    for trace in (EVE, NAME, EVE.replace("@", "%40")):
        assert find(place.db, trace) == [], trace
    for relation in RELATIONS.values():
        export(place.db, relation, str(tmp_path))
    assert exported(tmp_path) == set(), "what was written before is written anew"
    with place.db.single() as connection:
        assert proof.holes(connection) == []
        assert proof.replay_differences(connection) == []
    sequences = [change["sequence"] for change in json.loads(after["/api/v1/event_changes"])["results"]]
    assert sequences == list(range(1, len(sequences) + 1))
