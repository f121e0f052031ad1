"""Erased content is found nowhere and does not come back; numbers stay dense, and replay gives the current events."""

import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner

from calendar_pipeline.cli import app
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import metadata
from calendar_pipeline.errors import NotFound, SetupError
from calendar_pipeline.history import erase, persons, proof, redact
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.projects import rotate
from calendar_pipeline.secrets.keyring import KeyRing, generate, kid_of
from calendar_pipeline.webhooks import subscriptions
from calendar_pipeline.webhooks.model import NewSubscription
from sandbox.server import Running, running

BOB = "Bob.Smith_1@example.com"
OTHERS = ("jimbob.smith_1@example.com", "bob.smith_1@example.com.au", "bobxsmith_1@example.com")


@pytest.fixture
def sandbox(clock: Any) -> Iterator[Running]:
    from sandbox.model import State
    from sandbox.world import World

    with running(World(State(epoch="erasure"), clock=clock)) as sandbox:
        yield sandbox


class Scene:
    """A followed calendar in whose events Bob is mentioned in every way, over two versions."""

    def __init__(self, sandbox: Running, follow: Any, ingest: Ingest, db: Database, project: str) -> None:
        self.sandbox, self.ingest, self.db, self.project = sandbox, ingest, db, project
        self.google = sandbox.create_calendars(1, 2)[0]
        [self.id] = follow([self.google])
        start = sandbox.now().isoformat()
        person = {"email": BOB, "displayName": "Bob Smith", "responseStatus": "accepted", "comment": "late"}
        made = sandbox.create_event(
            self.google.calendar_id,
            start=start,
            title=f"Call with {BOB.upper()}, and Bob Smith",
            location=f"https://maps.example/?for={BOB.replace('@', '%40')}",
            description=f"mailto:{BOB} or {' or '.join(OTHERS)}",
            fields={"attendees": [person, {"email": OTHERS[0], "displayName": "Jim"}], "organizer": person},
        )
        self.event = made["id"]
        sandbox.create_event(
            self.google.calendar_id, start=start, title="Kaleidoscope of ours", attendees=["ann@example.org"]
        )
        awkward = {"summary": "odd\0", "attendees": [person]}
        sandbox.create_event(self.google.calendar_id, start=start, title="odd", fields=awkward)
        self.sync()
        sandbox.move_event(self.google.calendar_id, self.event, by=timedelta(hours=1))
        self.sync()

    def sync(self, *, full: bool = False) -> Any:
        [outcome] = sync_many(self.ingest, [self.id], threads=1, regardless=True, full=full)
        assert outcome.status == "synced", outcome
        return outcome

    def rows(self, query: str, **values: object) -> list[Any]:
        with self.db.single() as connection:
            return list(connection.execute(sa.text(query), values).mappings())

    def erase(self, *names: str) -> erase.Erased:
        with self.db.begin() as connection:
            return erase.person(
                connection, self.ingest.keyring, self.project, BOB, names=names, now=self.ingest.clock()
            )

    def proven(self) -> bool:
        with self.db.single() as connection:
            assert proof.holes(connection) == []
            assert proof.replay_differences(connection) == []
        return True


@pytest.fixture
def scene(sandbox: Running, follow: Any, ingest: Callable[[Running], Ingest], db: Database, project_id: str) -> Scene:
    return Scene(sandbox, follow, ingest(sandbox), db, project_id)


def test_an_erased_person_is_found_in_no_table(scene: Scene, find: Any) -> None:
    assert {"calendar_event", "event_history", "quarantined_event"} <= set(find(scene.db, BOB, besides=OTHERS))
    assert find(scene.db, BOB.replace("@", "%40"))
    scene.erase("Bob Smith")
    for trace in (BOB, BOB.replace("@", "%40"), "Bob Smith", "late"):
        assert find(scene.db, trace, besides=OTHERS) == [], trace


def test_other_peoples_addresses_stay(scene: Scene, find: Any) -> None:
    scene.erase()
    for other in OTHERS:
        assert "event_history" in find(scene.db, other), other
    assert "event_history" in find(scene.db, "Jim")


def test_numbers_and_versions_stay_and_replay_gives_the_current_events(scene: Scene) -> None:
    query = "SELECT seq, event_id, version, change, changed, recorded_at FROM event_history ORDER BY seq"
    before = scene.rows(query)
    erased = scene.erase()
    assert scene.rows(query) == before
    assert scene.proven()
    assert erased.rows["event_history"] == 2
    [record] = scene.rows("SELECT * FROM erasure")
    assert (record["kind"], record["rows"], record["calendar_id"]) == ("person", erased.rows, None)
    marked = scene.rows("SELECT seq FROM event_history WHERE erasure_id = :id ORDER BY seq", id=erased.id)
    assert [row["seq"] for row in marked] == sorted({record["first_seq"], record["last_seq"]})


def test_what_is_told_again_of_an_erased_person_is_not_kept_and_is_no_change(scene: Scene, find: Any) -> None:
    scene.erase()
    before = scene.rows("SELECT count(*) FROM event_history")
    outcome = scene.sync(full=True)
    assert (outcome.mode, outcome.changes) == ("listing", 0)
    assert scene.rows("SELECT count(*) FROM event_history") == before
    assert find(scene.db, BOB, besides=OTHERS) == []


def test_a_change_told_later_is_kept_without_the_person(scene: Scene, find: Any) -> None:
    erased = scene.erase()
    scene.sandbox.move_event(scene.google.calendar_id, scene.event, by=timedelta(hours=1))
    assert scene.sync().updated == 1
    assert find(scene.db, BOB, besides=OTHERS) == []
    [last] = scene.rows("SELECT * FROM calendar_event WHERE provider_event_id = :id", id=scene.event)
    assert [person["email"] for person in last["attendees"]][:2] == [f"{erased.id}@erased.invalid", OTHERS[0]]
    assert scene.proven()


# -- names -------------------------------------------------------------------------------------------------

NAME = "Bob Smith"


def named(scene: Scene, name: str = NAME) -> str:
    """An event that names him and has no address of his: in every text, and beside an address that is not his."""
    link = f"https://maps.example/?for={quote(name)}"
    made = scene.sandbox.create_event(
        scene.google.calendar_id,
        start=scene.sandbox.now().isoformat(),
        title=f"1:1 with {name}",
        location=link,
        description=f"Ask\n{name.upper()}, {unicodedata.normalize('NFD', name)} or {link}",
        fields={"attendees": [{"email": OTHERS[0], "displayName": name}]},
    )
    scene.sync()
    return str(made["id"])


def test_an_erased_name_does_not_come_back_with_a_listing_nor_with_a_change(scene: Scene, find: Any) -> None:
    name = "Zoë O'Groß"
    event = named(scene, name)
    awkward = {"summary": "odd\0", "description": f"and\n{name}"}
    scene.sandbox.create_event(
        scene.google.calendar_id, start=scene.sandbox.now().isoformat(), title="", fields=awkward
    )
    scene.sync()
    assert {"calendar_event", "event_history"} <= set(find(scene.db, name))
    aside = "SELECT raw FROM quarantined_event"
    assert any(json.dumps(name)[1:-1] in row["raw"] for row in scene.rows(aside))
    scene.erase(name)

    other_spellings = (quote(name), unicodedata.normalize("NFD", name))

    def check(titled: str, *spelled: str) -> None:
        for trace in (name, *spelled):
            assert find(scene.db, trace) == [], trace
        assert not any(json.dumps(name)[1:-1] in row["raw"] for row in scene.rows(aside))
        [row] = scene.rows("SELECT title FROM calendar_event WHERE provider_event_id = :id", id=event)
        assert row["title"] == titled
        assert scene.proven()

    check("1:1 with ", *other_spellings)
    outcome = scene.sync(full=True)
    assert (outcome.mode, outcome.changes) == ("listing", 0)
    check("1:1 with ")
    scene.sandbox.move_event(scene.google.calendar_id, event, by=timedelta(hours=1))
    assert scene.sync().updated == 1
    check("1:1 with ")
    scene.sandbox.retitle_event(scene.google.calendar_id, event, f"Lunch with {name.upper()}, and others")
    assert scene.sync().updated == 1
    check("Lunch with , and others")
    named(scene, name)
    check("Lunch with , and others", *other_spellings)


def test_a_name_beyond_ascii_is_found_in_letters_of_any_case_and_in_webhooks(scene: Scene, find: Any) -> None:
    """Bodies are bytes; and a database with the locale C knows no cases but ASCII's."""
    name = "Zoë Ünal"
    with scene.db.begin() as connection:
        new = NewSubscription(url="https://example.com/", triggers=["calendar.events_update"], content="changes")
        subscriptions.create(connection, scene.ingest.keyring, scene.project, [new], now=scene.ingest.clock())
    start = scene.sandbox.now().isoformat()
    for spelled in (name, "zOË üNAL"):
        scene.sandbox.create_event(scene.google.calendar_id, start=start, title=f"1:1 with {spelled}")
    scene.sync()
    assert {"calendar_event", "webhook_delivery"} <= set(find(scene.db, name))
    scene.erase(name)
    assert find(scene.db, name) == []
    assert {row["title"] for row in scene.rows("SELECT title FROM calendar_event WHERE title LIKE '1:1%'")} == {
        "1:1 with "
    }
    assert scene.proven()


def test_names_are_kept_sealed_and_are_sealed_anew_with_the_other_secrets(scene: Scene, find: Any) -> None:
    event = named(scene)
    scene.erase(NAME)
    [record] = scene.rows("SELECT names FROM erasure")
    assert kid_of(bytes(record["names"])) == scene.ingest.keyring.active
    former = scene.ingest.keyring
    both = KeyRing({"next": b"n" * 32})
    both._ciphers |= former._ciphers
    done = rotate.rotate(scene.db, both)
    assert (done.sealed["erasure.names"], done.unreadable) == (1, 0)
    scene.ingest = replace(scene.ingest, keyring=KeyRing({"next": b"n" * 32}))
    scene.sandbox.retitle_event(scene.google.calendar_id, event, f"Talk to {NAME}")
    assert scene.sync().updated == 1
    assert find(scene.db, NAME) == []


def test_names_that_cannot_be_opened_are_loud_and_nothing_is_written_without_them(scene: Scene, find: Any) -> None:
    event = named(scene)
    erased, ring = scene.erase(NAME), scene.ingest.keyring
    scene.sandbox.retitle_event(scene.google.calendar_id, event, f"Talk to {NAME}")
    [given] = scene.rows("SELECT names FROM erasure")
    before = scene.rows("SELECT sync_token, state FROM calendar")
    lost = persons.seal(KeyRing({"lost": b"l" * 32}), [NAME], erasure=erased.id, project=scene.project)
    others = persons.seal(ring, [NAME], erasure="ers_other", project=scene.project)
    for names, told in ((lost, []), (others, ["erasure.names"])):
        put(scene, names)
        [outcome] = sync_many(scene.ingest, [scene.id], threads=1, regardless=True)
        assert (outcome.status, outcome.code, outcome.is_failure) == ("unreadable", "credential_unreadable", True)
        assert scene.rows("SELECT sync_token, state FROM calendar") == before
        with scene.db.single() as connection:
            assert rotate.shut(connection, ring) == told
            assert ("lost" in rotate.by_key(connection)) == (names == lost)
    assert find(scene.db, NAME) == []
    put(scene, bytes(given["names"]))
    assert scene.sync().updated == 1
    assert find(scene.db, NAME) == []


def put(scene: Scene, names: bytes | None) -> None:
    with scene.db.begin() as connection:
        connection.execute(sa.text("UPDATE erasure SET names = :names"), {"names": names})


def test_a_name_that_is_given_later_is_erased_later_and_stays_so(scene: Scene, find: Any, clock: Any) -> None:
    """The alias of the first erasure stands in what is kept, so it is the one that stands for what is told."""
    event = named(scene)
    scene.erase()
    assert scene.sync(full=True).changes == 0
    assert find(scene.db, NAME)
    clock.pass_by(minutes=1)
    scene.erase(NAME)
    assert scene.sync(full=True).changes == 0
    scene.sandbox.retitle_event(scene.google.calendar_id, event, f"Talk to {NAME}")
    assert scene.sync().updated == 1
    for trace in (BOB, NAME):
        assert find(scene.db, trace, besides=OTHERS) == [], trace
    assert scene.proven()


def test_a_name_that_is_a_word_of_ours_or_a_zones_leaves_those_alone(scene: Scene) -> None:
    fixed = "SELECT provider_event_id, time_zone, status, change, changed, visibility, event_type FROM event_history"
    before = scene.rows(f"{fixed} ORDER BY seq")
    assert any(row["time_zone"] == "Europe/Berlin" for row in before)
    scene.erase("Berlin", "Default", "Created", "Confirmed")
    assert scene.rows(f"{fixed} ORDER BY seq") == before
    assert scene.sync(full=True).changes == 0


def test_the_command_keeps_the_name_under_the_installations_key_ring_and_nothing_without_yes(
    scene: Scene, find: Any, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(scene)
    keys = generate("ours")
    monkeypatch.chdir(tmp_path)
    for name, value in (("DATABASE_URL", database_url), ("CALENDAR_PIPELINE_KEYS", keys), ("COLUMNS", "400")):
        monkeypatch.setenv(name, value)
    words = ["erase", "--project", scene.project, "--person", BOB, "--name", NAME]
    tried = CliRunner().invoke(app, words)
    assert "Nothing was written; add --yes to do it" in tried.output
    assert scene.rows("SELECT 1 FROM erasure") == []
    done = CliRunner().invoke(app, [*words, "--yes"])
    assert (done.exit_code, done.output[:10]) == (0, "Erased as ")
    assert find(scene.db, NAME) == []
    row = scene.rows("SELECT id, encode(digest, 'hex') AS digest, encode(names, 'hex') AS names FROM erasure")
    [person] = persons.open_(KeyRing.parse(keys), row, project=scene.project)
    assert (person.names, person.digest) == ([NAME], redact.digest(scene.project, BOB).hex())


# -- races, other projects, calendars ----------------------------------------------------------------------


def test_a_sync_that_has_read_before_an_erasure_writes_nothing_after_it(scene: Scene, find: Any) -> None:
    scene.sandbox.move_event(scene.google.calendar_id, scene.event, by=timedelta(hours=1))

    def erase_now(point: str) -> None:
        if point == "read":
            scene.erase()

    racing = replace(scene.ingest, crash=erase_now)
    [outcome] = sync_many(racing, [scene.id], threads=1, regardless=True)
    assert outcome.status == "stepped_aside"
    assert find(scene.db, BOB, besides=OTHERS) == []
    assert scene.sync().updated == 1
    assert find(scene.db, BOB, besides=OTHERS) == []


def test_the_same_address_in_another_project_is_another_matter(scene: Scene, db: Database, clock: Any) -> None:
    from calendar_pipeline.projects import store as projects

    with db.begin() as connection:
        other = projects.create(connection, f"of {BOB}", now=clock()).id
    scene.erase()
    assert [row["name"] for row in scene.rows("SELECT name FROM project WHERE id = :id", id=other)] == [f"of {BOB}"]


def test_a_person_whose_own_calendar_is_followed_is_refused_with_what_to_do(scene: Scene) -> None:
    own = scene.google.calendar_id
    with pytest.raises(SetupError, match=f"delete {scene.id} first"), scene.db.begin() as connection:
        erase.person(connection, scene.ingest.keyring, scene.project, own, now=scene.ingest.clock())
    assert scene.rows("SELECT 1 FROM erasure") == []


def unfollow(scene: Scene) -> None:
    with scene.db.begin() as connection:
        connection.execute(sa.text("DELETE FROM calendar WHERE id = :id"), {"id": scene.id})


def test_an_erased_calendars_content_is_found_in_no_table(scene: Scene, find: Any) -> None:
    titles = [row["title"] for row in scene.rows("SELECT DISTINCT title FROM event_history")]
    ids = [row["provider_event_id"] for row in scene.rows("SELECT provider_event_id FROM calendar_event")]
    unfollow(scene)
    assert find(scene.db, titles[0])
    with scene.db.begin() as connection:
        erased = erase.calendar(connection, scene.id, now=scene.ingest.clock())
    for trace in (*titles, *ids, BOB, OTHERS[0], scene.google.calendar_id):
        assert find(scene.db, trace, besides=OTHERS) == [], trace
    assert erased.rows["event_history"] == len(scene.rows("SELECT 1 FROM event_history"))
    assert scene.proven()


def test_a_followed_calendar_is_not_erased(scene: Scene) -> None:
    with pytest.raises(SetupError, match="still followed: delete it first"), scene.db.begin() as connection:
        erase.calendar(connection, scene.id, now=scene.ingest.clock())


def test_a_calendar_that_never_was_is_not_found(db: Database, clock: Any) -> None:
    with pytest.raises(NotFound), db.begin() as connection:
        erase.calendar(connection, "cal_0000000000000000", now=clock())


def test_a_former_calendar_of_the_persons_own_is_emptied(scene: Scene, find: Any) -> None:
    own = scene.google.calendar_id
    titles = [row["title"] for row in scene.rows("SELECT DISTINCT title FROM event_history")]
    unfollow(scene)
    with scene.db.begin() as connection:
        erase.person(connection, scene.ingest.keyring, scene.project, own, now=scene.ingest.clock())
    for trace in (own, *titles):
        assert find(scene.db, trace, besides=OTHERS) == [], trace


@pytest.mark.parametrize(
    "change",
    [
        "version = 9",
        "seq = 99",
        "change = 'deleted'",
        "event_id = 'evt_other'",
        "is_deleted = true",
        "erasure_id = 'x'",
    ],
)
def test_an_erasure_cannot_change_what_a_version_is(scene: Scene, change: str) -> None:
    erased = scene.erase()
    mark = "" if "erasure_id" in change else f", erasure_id = '{erased.id}'"
    with pytest.raises(IntegrityError, match="append-only"):
        rewrite(scene.db, erased.id, f"UPDATE event_history SET {change}{mark}")


def test_a_rewrite_without_a_record_is_refused(scene: Scene) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        rewrite(scene.db, "ers_none", "UPDATE event_history SET title = NULL, erasure_id = 'ers_none'")


def rewrite(db: Database, erasure: str, statement: str) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("SELECT set_config('calendar_pipeline.erasure', :id, true)"), {"id": erasure})
        connection.exec_driver_sql(statement)


def test_every_table_with_readable_content_is_looked_through() -> None:
    """A new table is redacted without anyone thinking of it, or is told here why it need not be."""
    # idempotency_key is emptied as a whole; a webhook_secret is sealed and ours.
    nobody = {
        "analyst_view",
        "erasure",
        "feed_epoch",
        "rate_limit",
        "project_counter",
        "bot_override",
        "bot_position",
        "live_run",
    }
    without = {  # link such a table to a project, or say above that it names nobody
        table.name
        for table in metadata.sorted_tables
        if erase._of_project(table, "p") is None or not [c for c in table.columns if erase._readable(c)]
    }
    assert without - {"idempotency_key", "webhook_secret"} <= nobody, (
        "link them to a project, or say here that they name nobody"
    )


def test_the_erasure_record_holds_no_address(scene: Scene) -> None:
    scene.erase()
    [record] = scene.rows("SELECT erasure::text AS text FROM erasure")
    assert "example.com" not in json.dumps(record["text"])
