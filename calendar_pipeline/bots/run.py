"""History → bots: each bot follows its event, and is handed to the runner when its time has come.

Every function here may run any number of times, at once and in any order: rows are claimed by lease, plans are written
only if nothing came in meanwhile, and the runner has one bot for one key. Network calls are made with no transaction
open: before one it is written that the runner is asked, after it what it answered.
"""

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

from sqlalchemy.exc import IntegrityError

from calendar_pipeline.bots import plan, position, queue, ruling, steps, store
from calendar_pipeline.bots.plan import Policy
from calendar_pipeline.bots.port import BotRunner, Down, GivenBack, Kept, Order, Refused, Taken
from calendar_pipeline.bots.queue import Claimed, Instance, Note
from calendar_pipeline.bots.steps import Step
from calendar_pipeline.db.connect import AWAY, Database, new_lease
from calendar_pipeline.errors import CredentialUnreadable
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.webhooks import outbox

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

CHUNK = 200
"""Bots claimed by one statement. A dead worker holds up no more than these, until their lease runs out."""

NEWS = 2000
"""Changes of history followed in one transaction."""

PROJECTS = 1000

AGAIN = 4
"""Bots for each thread that are claimed at once of those that the runner was asked about in vain."""

HAND_OVER = 60.0
"""Seconds after which no more of a lot is handed over: it is looked at again who is due."""

ROUND = 5.0
"""Seconds after which nothing more is begun, so that what has changed meanwhile is followed."""

NOT_ASKED = Down("not_asked_in_time")

POLL = 0.5
"""Seconds between two looks while lingering."""

LATE_AFTER = timedelta(seconds=5)
"""A hand-over this long after its time counts as late."""


def _nothing(point: str) -> None:
    """The default of `Bots.crash`."""


def _no_reports(_: str, __: int) -> Sequence[Mapping[str, object]]:
    """The default of `Bots.reports_to`."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bots:
    """All that is needed to plan and launch bots."""

    db: Database
    keyring: KeyRing
    runner: BotRunner
    clock: Callable[[], datetime]
    policy: Policy = field(default_factory=Policy)
    lease: timedelta = timedelta(seconds=15)
    """A worker that dies holds up its bots for so long; one that lives renews."""
    threads: int = 8
    reports_to: Callable[[str, int], Sequence[Mapping[str, object]]] = _no_reports
    """The webhooks by which the runner reports on a bot's launch."""
    crash: Callable[[str], None] = _nothing
    """Told of each point that is passed; tests die there."""


@dataclass(slots=True, kw_only=True)
class Worked:
    """What was done."""

    news: int = 0
    """Changes of history followed."""
    looked_at: int = 0
    """Bots planned."""
    decisions: Counter[str] = field(default_factory=Counter[str])
    late: int = 0
    latest: timedelta = timedelta()
    """How late the latest hand-over was."""
    lateness: list[float] = field(default_factory=list[float])
    """Seconds after its time at which each bot was handed over."""

    def add(self, other: "Worked") -> None:
        """Count what `other` counts as well."""
        self.news += other.news
        self.looked_at += other.looked_at
        self.decisions.update(other.decisions)
        self.late += other.late
        self.latest = max(self.latest, other.latest)
        self.lateness += other.lateness

    @property
    def total(self) -> int:
        """Zero: there was nothing to do."""
        return self.news + self.looked_at


def work(bots: Bots, *, limit: int = CHUNK, timer: Callable[[], float] = time.monotonic) -> Worked:
    """Follow what changed and do what is due, up to about `limit` bots.

    Whatever the runner was asked in vain is asked again last, and little of it at once: it holds up nothing else for
    longer than the runner keeps us waiting. But it is not left out for as long as there is something else.
    """
    worked = Worked()
    follow(bots, worked)
    left, began = limit, timer()
    while left > 0 and timer() - began < ROUND:
        done = due(bots, worked, limit=min(left, CHUNK))
        if done == 0:
            break
        left -= done
    return worked


def linger(bots: Bots, longest: timedelta, *, pause: Callable[[float], None] = time.sleep) -> Worked:
    """Work until nothing is due, and then as long as `longest` for what falls due meanwhile."""
    total = Worked()
    deadline = time.monotonic() + longest.total_seconds()
    while True:
        worked = work(bots, limit=CHUNK * 10)
        total.add(worked)
        if not worked.total:
            if time.monotonic() >= deadline:
                return total
            pause(POLL)


def follow(bots: Bots, worked: Worked) -> None:
    """Let rules judge what changed where there are any, and mark the bots of all events that changed."""
    with bots.db.single() as connection:
        behind = position.behind(connection, limit=PROJECTS)
    for project, place in behind.items():
        if place.is_ruled:
            worked.news += ruling.judge(bots.db, bots.keyring, project, now=bots.clock(), crash=bots.crash)
        if not place.has_news:
            continue
        with bots.db.begin() as connection:
            if place.is_new:
                position.begin(connection, project)
            progress = position.follow(connection, project, now=bots.clock(), limit=NEWS)
            bots.crash("followed")
        worked.news += progress.news


def due(bots: Bots, worked: Worked, *, limit: int) -> int:
    """Plan bots that are due, write the plans, and ask the runner for what they say; returns how many."""
    lease, now = new_lease(), bots.clock()
    with bots.db.single() as connection:
        claimed = queue.claim(
            connection, lease=lease, length=bots.lease, now=now, limit=limit, again=bots.threads * AGAIN
        )
    if not claimed:
        return 0
    bots.crash("claimed")
    with _holding(bots, [bot.id for bot in claimed], lease=lease):
        _settle(bots, worked, claimed, lease=lease, now=now)
    return len(claimed)


@contextmanager
def _holding(bots: Bots, claimed: Sequence[str], *, lease: uuid.UUID) -> Generator[None]:
    """Renew the lease meanwhile. Should it be lost after all, what came of it is not written, and asked for again."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(bots.lease.total_seconds() / 4):
            try:
                with bots.db.single() as connection:
                    queue.renew(connection, claimed, lease=lease, length=bots.lease)
            except AWAY as error:
                log.warning("the lease of %d bots was not renewed (%s)", len(claimed), type(error).__name__)

    with ThreadPoolExecutor(1, thread_name_prefix="bots-lease") as pool:
        renewing = pool.submit(renew)
        try:
            yield
        finally:
            done.set()
    renewing.result()


def _settle(bots: Bots, worked: Worked, claimed: Sequence[Claimed], *, lease: uuid.UUID, now: datetime) -> None:
    """Plan claimed bots, write the plans, and ask the runner for what they say."""
    planned = _plan_all(bots, claimed, now=now)
    try:
        with bots.db.begin() as connection:
            ours = queue.write(connection, [one.row for one in planned], lease=lease, now=now)
            written = [one for one in planned if one.row.id in ours]
            notes = [(one.row.id, note) for one in written for note in one.row.notes]
            if notes:
                queue.record(connection, notes, now=now)
                outbox.bots_changed(connection, steps.changes(notes, now=now), at=now)
            bots.crash("planned")
    except IntegrityError:
        # A deduplication key was taken while we planned to give it back to its former bot. Next time that is seen.
        with bots.db.single() as connection:
            queue.release(connection, {bot.id: (bot.asked, now) for bot in claimed}, lease=lease)
        return
    bots.crash("committed")
    worked.looked_at += len(claimed)
    worked.decisions.update(note.decision for _, note in notes)
    launches = [one for one in written if isinstance(one.last, plan.Launch)]
    recalls = [one for one in written if isinstance(one.last, plan.Recall)]
    for is_first, longest in ((True, HAND_OVER), (False, ROUND)):
        if lot := [one for one in launches if one.bot.is_first is is_first]:
            _launch(bots, lot, worked, longest, lease=lease)
    if recalls:
        _recall(bots, recalls, worked, lease=lease)


def _plan_all(bots: Bots, claimed: Sequence[Claimed], *, now: datetime) -> list[Step]:
    """A plan for each bot by its event as it is now."""
    with bots.db.single() as connection:
        seen = queue.events(connection, [bot.id for bot in claimed])
        orphans = [bot for bot in claimed if bot.id in seen and steps.seeks_heir(bot, seen[bot.id])]
        heirs: Mapping[str, Instance] = {}
        if orphans:
            origins = [at for bot in orphans if (at := seen[bot.id].original_starts_at)]
            instances = queue.instances(
                connection,
                sorted({bot.calendar_id for bot in orphans if bot.calendar_id}),
                earliest=min(origins) - steps.A_DAY,
                latest=max(origins) + steps.A_DAY,
            )
            heirs = steps.heirs(orphans, seen, instances)
    restored: set[tuple[str, str]] = set()
    planned: list[Step] = []
    for bot in claimed:
        if bot.id not in seen:
            continue  # deleted with its calendar meanwhile
        key = (bot.project_id, bot.deduplication_key or "")
        one = steps.step(bot, seen[bot.id], heirs.get(bot.id), key in restored, policy=bots.policy, now=now)
        if bot.gone_because and bot.deduplication_key and one.row.values["gone_because"] is None:
            restored.add(key)
        planned.append(one)
    return planned


def _launch(bots: Bots, launches: Sequence[Step], worked: Worked, longest: float, *, lease: uuid.UUID) -> None:
    """Hand bots to the runner and write down what it said, all in one transaction."""
    answers = _ask(bots, launches, bots.runner.launch, longest)
    bots.crash("answered")
    now = bots.clock()
    taken: dict[str, tuple[int, str | None]] = {}
    waits: dict[str, tuple[int, datetime | None]] = {}
    notes: list[tuple[str, Note]] = []
    for one, answer in answers:
        match answer:
            case Taken():
                taken[one.bot.id] = (one.bot.asked, answer.runner_bot_id)
            case Refused():
                waits[one.bot.id] = (one.bot.asked, now + plan.backoff(one.attempts + 5))
                notes.append((one.bot.id, steps.note(one, "refused", f"the runner refuses it: {answer.code}")))
            case Down():
                waits[one.bot.id] = (one.bot.asked, now + plan.backoff(one.attempts))
                notes.append((one.bot.id, steps.note(one, "not taken", f"the runner does not answer: {answer.code}")))
            case _:
                assert_never(answer)
    with bots.db.begin() as connection:
        done = queue.handed(connection, taken, lease=lease, now=now) if taken else []
        notes += [(row.id, steps.handed(row)) for row in done]
        if waits:
            queue.release(connection, waits, lease=lease)
        if notes:
            queue.record(connection, notes, now=now)
            outbox.bots_changed(connection, steps.changes(notes, now=now), at=now)
        bots.crash("handed")
    bots.crash("told")
    worked.decisions.update(note.decision for _, note in notes)
    for row in done:
        late = now - (row.join_at or row.created_at)
        worked.lateness.append(late.total_seconds())
        worked.latest = max(worked.latest, late)
        worked.late += late > LATE_AFTER


def _recall(bots: Bots, recalls: Sequence[Step], worked: Worked, *, lease: uuid.UUID) -> None:
    """Take bots back from the runner, and have those that it gave back planned anew."""
    answers = _ask(bots, recalls, bots.runner.recall, ROUND)
    bots.crash("answered")
    now = bots.clock()
    back: dict[str, Note] = {}
    kept: dict[str, tuple[int, str | None]] = {}
    waits: dict[str, tuple[int, datetime | None]] = {}
    notes: list[tuple[str, Note]] = []
    for one, answer in answers:
        bot = one.bot
        match answer:
            case GivenBack():
                back[bot.id] = steps.recalled(one)
            case Kept():
                why = f"the runner keeps it: {answer.code}"
                notes.append((bot.id, steps.note(one, "not recalled", why)))
                if bot.handed_at is None:
                    kept[bot.id] = (bot.asked, None)
                else:
                    waits[bot.id] = (bot.asked, None)
            case Down() if answer is not NOT_ASKED and _is_past_recall(one, now):
                back[bot.id] = steps.recall_given_up(one, answer.code)
            case Down():
                waits[bot.id] = (bot.asked, now + plan.backoff(one.attempts))
                why = f"the runner does not answer: {answer.code}"
                notes.append((bot.id, steps.note(one, "not recalled", why)))
            case _:
                assert_never(answer)
    with bots.db.begin() as connection:
        done = queue.recalled(connection, list(back), lease=lease, now=now) if back else set[str]()
        notes += [(bot_id, note) for bot_id, note in back.items() if bot_id in done]
        for row in queue.handed(connection, kept, lease=lease, now=now) if kept else []:
            notes.append((row.id, steps.handed(row)))
        if waits:
            queue.release(connection, waits, lease=lease)
        queue.record(connection, notes, now=now)
        outbox.bots_changed(connection, steps.changes(notes, now=now), at=now)
        bots.crash("recalled")
    worked.decisions.update(note.decision for _, note in notes)


def _is_past_recall(one: Step, now: datetime) -> bool:
    return isinstance(one.last, plan.Recall) and now >= one.last.until


def _ask(
    bots: Bots, wanted: Sequence[Step], ask: Callable[[Order], Answer], longest: float
) -> list[tuple[Step, Answer | Down]]:
    """What the runner says to each, asked by threads. After `longest` seconds no more are asked."""
    with bots.db.single() as connection:
        rows = {row.id: row for row in queue.orders(connection, [one.bot.id for one in wanted])}
    deadline = time.monotonic() + longest

    def one_answer(one: Step) -> tuple[Step, Answer | Down]:
        if (row := rows.get(one.bot.id)) is None:
            return one, Down("gone")
        if time.monotonic() > deadline:
            return one, NOT_ASKED
        try:
            settings = store.opened(bots.keyring, row.settings, row.id, row.project_id)
        except CredentialUnreadable:
            return one, Down("settings_unreadable")
        bots.crash("asking")
        return one, ask(
            Order(
                bot_id=row.id,
                key=key_of(row.id, row.launch),
                project_id=row.project_id,
                name=row.name,
                meeting_url=row.meeting_url,
                join_at=row.join_at if row.join_at is not None and row.join_at > bots.clock() else None,
                metadata=row.metadata,
                settings=settings,
                webhooks=bots.reports_to(row.id, row.launch),
                is_repeat=row.attempts > 1,
                runner_bot_id=row.runner_bot_id,
            )
        )

    if len(wanted) == 1:
        return [one_answer(wanted[0])]
    with ThreadPoolExecutor(max_workers=bots.threads, thread_name_prefix="runner") as pool:
        return list(pool.map(one_answer, wanted))


def key_of(bot_id: str, launch: int) -> str:
    """By what the runner knows a bot's launch: once recalled, the bot is another one to it."""
    return bot_id if launch == 1 else f"{bot_id}.{launch}"
