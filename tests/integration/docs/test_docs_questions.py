"""The guide's questions, asked of a week that real stages wrote: each query gives the answer printed under it."""

import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline.bots.runners.fake import FakeRunner
from calendar_pipeline.db.connect import Database
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.webhooks import run as webhooks
from calendar_pipeline.webhooks import subscriptions
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.model import NewSubscription
from gallery.company import Company, company

PAGE = (Path(__file__).parents[3] / "docs/analyse/questions.md").read_text()
QUESTIONS = re.findall(r"(?ms)^### ([^\n]+)\n.*?^```sql\n(.*?)^```\n\n```text\n(.*?)^```", PAGE)

EVENT, PROJECT = "evt_0000000000000000", "proj_0000000000000000"
MEET, ZOOM = "https://meet.google.com/abc-defg-hij", "https://zoom.us/j/123456789"


@dataclass
class Week:
    """The database at the week's end, and what stands for the zeros in the guide."""

    db: Database
    ids: dict[str, str]

    def ask(self, query: str) -> str:
        for zeros, known in self.ids.items():
            query = query.replace(zeros, known)
        with self.db.single() as connection:
            result = connection.execute(sa.text(query.replace(":", r"\:")))
            lines = [" | ".join(result.keys()), *(" | ".join(map(written, row)) for row in result)]
        return "".join(f"{line.rstrip()}\n" for line in lines)


def written(value: Any) -> str:
    """A value as the guide prints it."""
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(UTC):%a %Y-%m-%d %H:%M}"
        case list():
            return ", ".join(map(written, value))
        case timedelta():
            sign, days = "-" if value < timedelta() else "", abs(value).days
            return f"{sign}{f'{days} d ' if days else ''}{abs(value) - timedelta(days=days)}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


@contextmanager
def endpoint() -> Iterator[str]:
    """A customer's server, which fails once and then does as it should."""
    answers = [500]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answers.pop() if answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def week(new_database: Callable[[], str], keyring: KeyRing) -> Iterator[Week]:
    """The week that the guide tells of."""
    with (
        Database(new_database()) as db,
        endpoint() as url,
        company(db, keyring, begins=moment("23T09:00"), runner=FakeRunner()) as ours,
    ):
        yield play(ours, url)


def moment(told: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{told}:00Z")


def play(company: Company, url: str) -> Week:
    ann, ben = "ann@example.com", "ben@example.com"
    local = Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None)
    dispatch = webhooks.Dispatch(
        db=company.db, keyring=company.keyring, policy=local, clock=company.clock, rng=random.Random(1)
    )
    sandbox = company.sandbox

    def at(told: str, *synced: str) -> None:
        """Let it be then; read these people's calendars, and do what is to be done."""
        company.clock.now = moment(told)
        if synced:
            company.sync(synced)
        company.look_after_bots()
        while webhooks.deliver(dispatch).claimed:
            pass

    def event(who: str, start: str, title: str, minutes: int = 60, link: str | None = None, **more: Any) -> str:
        start = moment(start).isoformat()
        return str(sandbox.create_event(who, start=start, title=title, minutes=minutes, link=link, **more)["id"])

    company.hire(ann)
    company.hire(ben)
    with company.db.begin() as connection:
        told = NewSubscription(url=url, triggers=["calendar.events_update"])
        subscriptions.create(connection, company.keyring, company.project, [told], now=company.clock())
    roadmap = event(ann, "24T10:00", "Roadmap", link=MEET, attendees=[ben], event_id="roadmap")
    event(ben, "24T10:00", "Roadmap", link=MEET, organizer=ann, event_id="roadmap")
    event(ann, "24T10:30", "Focus")
    interview = event(ann, "25T14:00", "Interview", 30, attendees=["carol@example.com"])
    weekly = event(ann, "26T09:00", "Weekly", link=ZOOM)
    event(ben, "26T15:00", "Interview debrief", 30, ZOOM)
    offsite = event(ben, "27T13:00", "Offsite", 120)
    at("23T09:00", ann, ben)
    company.send_bot(company.ours(ann, roadmap))
    company.send_bot(company.ours(ann, weekly))
    at("23T09:10")

    at("23T12:00")
    sandbox.move_event(ann, roadmap, by=timedelta(hours=1))
    at("23T12:30", ann)
    at("24T10:55")
    at("24T11:00")

    company.clock.now = moment("25T13:50")
    sandbox.set_link(ann, interview, MEET)
    at("25T13:50", ann)
    company.send_bot(company.ours(ann, interview))
    at("25T14:02")

    at("25T16:00")
    sandbox.cancel_event(ben, offsite)
    at("25T16:00", ben)

    at("26T08:30")
    sandbox.move_event(ann, weekly, by=timedelta(hours=-1))
    at("26T08:30", ann, ben)
    return Week(
        company.db, {"evt_0000000000000000": company.ours(ann, roadmap), "proj_0000000000000000": company.project}
    )


@pytest.mark.parametrize(("question", "query", "answer"), QUESTIONS, ids=[question for question, _, _ in QUESTIONS])
def test_the_guides_answer_is_the_answer(week: Week, question: str, query: str, answer: str) -> None:
    assert week.ask(query) == answer


def test_every_question_has_a_query_and_an_answer() -> None:
    assert len(QUESTIONS) == PAGE.count("\n### ")
    assert len(QUESTIONS) > 12
    assert all(answer for _, _, answer in QUESTIONS)
