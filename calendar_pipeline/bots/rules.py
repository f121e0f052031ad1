"""Which meetings a project wants a bot for, by rules. Pure.

A policy is a few typed conditions that an event must all meet. A project has one policy for all its calendars, and may
have another for some of them; for a single event a person's yes or no goes before both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Annotated, Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

import msgspec
import yaml

from calendar_pipeline.bots import options
from calendar_pipeline.errors import SetupError
from calendar_pipeline.event import Attendee

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
Clock = Annotated[str, msgspec.Meta(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\Z")]
Phrase = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Domain = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]+(\.[a-z0-9-]+)+\Z")]
MOST = 1000
"""Of phrases and of domains: each is looked for in each event."""
Phrases = Annotated[tuple[Phrase, ...], msgspec.Meta(max_length=MOST)]

ROOM = "resource.calendar.google.com"
"""The domain of rooms and other things that are invited."""


class WorkingHours(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"start": "from", "end": "to"}
):
    """When a meeting must begin."""

    start: Clock = "09:00"
    end: Clock = "17:00"
    """Exclusive."""
    days: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri")
    time_zone: str | None = None
    """IANA name; none: the event's own zone."""

    def __post_init__(self) -> None:
        """Refuse hours that hold nothing, and zones that nobody knows."""
        if self.start >= self.end:
            raise ValueError("`from` must be before `to`")
        if not self.days:
            raise ValueError("`days` needs one day at least")
        if self.time_zone is not None and _zone(self.time_zone) is None:
            raise ValueError(f"no time zone is called {self.time_zone!r}; use an IANA name such as Europe/Berlin")


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an event must be for a bot to be wanted: all that is set."""

    external_only: bool = False
    """Somebody from another domain is invited."""
    own_domains: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=MOST)] = ()
    """Domains that are not external; none: that of the calendar's owner."""
    organiser_only: bool = False
    """The calendar's owner called the meeting."""
    accepted_only: bool = False
    """The calendar's owner accepted, or called the meeting."""
    with_link: bool = False
    """Take the bot away when the link goes; otherwise it waits for another one."""
    title_contains: Phrases = ()
    """One of these, in any case of letters."""
    title_excludes: Phrases = ()
    """None of these."""
    minimum_attendees: Annotated[int, msgspec.Meta(ge=0)] = 0
    """People, the organiser among them; rooms do not count."""
    recurring: bool | None = None
    """True: of a series only; false: single events only."""
    working_hours: WorkingHours | None = None

    def __post_init__(self) -> None:
        """Refuse a policy without any condition: that it means everything must be said."""
        if self.recurring is None and not any(getattr(self, name) for name in _CONDITIONS):
            raise ValueError("a policy without a condition: write `all` or `none` in its place")


_CONDITIONS = tuple(name for name in Policy.__struct_fields__ if name != "own_domains")

Which = Literal["all", "none"] | Policy


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the bots are that rules make."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    settings: dict[str, object] = {}
    """As in POST /bots."""
    metadata: dict[str, object] | None = None


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A project's rules."""

    bot: Template
    project: Which = "none"
    calendars: dict[str, Which] = {}
    """By calendar id, in place of the project's."""

    def of(self, calendar_id: str) -> Which:
        """What holds for a calendar."""
        return self.calendars.get(calendar_id, self.project)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An event as far as a policy cares."""

    calendar_id: str
    title: str | None
    starts_at: datetime
    """The true instant."""
    time_zone: str | None
    link: str | None
    organizer_email: str | None
    own_response: str | None
    attendees: Sequence[Attendee]
    is_recurring: bool
    account: str | None = None
    """Whose calendar it is, as the provider names the account."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bot is wanted, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unwanted:
    """No bot is wanted, and why."""

    reason: str


Verdict = Wanted | Unwanted

_EXAMPLE = "for example\n  bot: {name: Notes}\n  project: {external_only: true}"


def parse(text: str) -> Rules:
    """Rules out of YAML (or JSON); raises SetupError, which says what to change."""
    try:
        read: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise SetupError(f"The rules are not YAML{where}. Write them like {_EXAMPLE}") from None
    return given(_spelt(read))


def given(read: object) -> Rules:
    """Rules out of what JSON or YAML held; raises SetupError, which says what to change."""
    try:
        rules = msgspec.convert(read, Rules)
    except msgspec.ValidationError as error:
        raise SetupError(f"The rules cannot be read: {error}. Write them like {_EXAMPLE}") from None
    return _checked(rules)


def _checked(rules: Rules) -> Rules:
    """Rules whose bot can be made; raises SetupError."""
    for name, value in rules.bot.settings.items():
        if name not in options.SCHEMAS:
            known = ", ".join(sorted(options.SCHEMAS))
            raise SetupError(f"bot.settings.{name}: there is no such setting. There are: {known}.")
        wrong = options.misshapen(name, value) or options.mistaken(name, cast(Mapping[str, Any], value))
        if wrong:
            raise SetupError(f"bot.settings.{name}: {wrong}")
    return rules


def _spelt(read: object) -> object:
    """YAML 1.1 reads 09:00 as a number of minutes; given back as it was written."""
    if isinstance(read, dict):
        items = cast(Mapping[object, object], read).items()
        return {key: _hour(value) if key in ("from", "to") else _spelt(value) for key, value in items}
    return read


def _hour(value: object) -> object:
    return f"{value // 60:02}:{value % 60:02}" if isinstance(value, int) and not isinstance(value, bool) else value


def stored(rules: Rules) -> str:
    """JSON to keep."""
    return msgspec.json.encode(rules).decode()


def restored(kept: object) -> Rules:
    """Rules that were kept, as the database gives them."""
    return msgspec.convert(kept, Rules)


def shown(rules: Rules) -> str:
    """YAML that `parse` reads."""
    return yaml.safe_dump(msgspec.to_builtins(rules), sort_keys=False, allow_unicode=True)


def wants(rules: Rules | None, event: Subject, override: bool | None = None) -> Verdict:
    """Whether a bot is wanted for an event, and the one line that says why. It holds nothing out of the calendar."""
    if rules is None:
        return Unwanted("there are no rules any more")
    if override is not None:
        return Wanted("said yes for this event") if override else Unwanted("said no for this event")
    match rules.of(event.calendar_id):
        case "all":
            return Wanted("all meetings are")
        case "none":
            return Unwanted("no meeting of this calendar is")
        case Policy() as policy:
            met: list[str] = []
            for name in _CONDITIONS:
                check = _CHECKS[name]
                verdict = check(policy, event)
                if isinstance(verdict, Unwanted):
                    return verdict
                if verdict is not None:
                    met.append(verdict.reason)
            return Wanted(", ".join(met))


def _external(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.external_only:
        return None
    own = set(policy.own_domains) or _own_domains(event)
    if not own:
        return Unwanted("whose calendar it is, is not known: set own_domains")
    domains = {_domain(email) for email in _emails(event)}
    return Wanted("with external people") if domains - own else Unwanted("nobody external is invited")


def _organiser(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.organiser_only:
        return None
    is_own = event.own_response == "organizer" or (
        event.organizer_email is not None
        and event.organizer_email.lower()
        in {person.email.lower() for person in event.attendees if person.is_self and person.email}
    )
    return Wanted("called by the owner") if is_own else Unwanted("somebody else called it")


def _accepted(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.accepted_only:
        return None
    is_accepted = event.own_response in ("accepted", "organizer")
    return Wanted("accepted") if is_accepted else Unwanted("not accepted by the calendar's owner")


def _link(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.with_link:
        return None
    return Wanted("with a link") if event.link is not None else Unwanted("it has no meeting link")


def _contains(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.title_contains:
        return None
    if (phrase := _phrase(policy.title_contains, event)) is not None:
        return Wanted(f"title contains {phrase!r}")
    return Unwanted(f"title does not contain {' or '.join(repr(one) for one in policy.title_contains)}")


def _excludes(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.title_excludes:
        return None
    if (phrase := _phrase(policy.title_excludes, event)) is not None:
        return Unwanted(f"title contains {phrase!r}")
    return Wanted("nothing excluded in its title")


def _attendees(policy: Policy, event: Subject) -> Verdict | None:
    if not policy.minimum_attendees:
        return None
    hidden = sum(1 for person in event.attendees if not person.email)
    count = len(set(_emails(event))) + hidden
    if count >= policy.minimum_attendees:
        return Wanted(f"{count} people")
    return Unwanted(f"{count} people, of at least {policy.minimum_attendees}")


def _recurring(policy: Policy, event: Subject) -> Verdict | None:
    if policy.recurring is None:
        return None
    told = "of a series" if event.is_recurring else "not of a series"
    return Wanted(told) if event.is_recurring == policy.recurring else Unwanted(told)


def _hours(policy: Policy, event: Subject) -> Verdict | None:
    hours = policy.working_hours
    if hours is None:
        return None
    zone = _zone(hours.time_zone or event.time_zone or "UTC") or ZoneInfo("UTC")
    local = event.starts_at.astimezone(zone)
    fits = DAYS[local.weekday()] in hours.days and (
        time.fromisoformat(hours.start) <= local.time() < time.fromisoformat(hours.end)
    )
    return Wanted("within working hours") if fits else Unwanted("outside working hours")


_CHECKS: Mapping[str, Callable[[Policy, Subject], Verdict | None]] = {
    "external_only": _external,
    "organiser_only": _organiser,
    "accepted_only": _accepted,
    "with_link": _link,
    "title_contains": _contains,
    "title_excludes": _excludes,
    "minimum_attendees": _attendees,
    "recurring": _recurring,
    "working_hours": _hours,
}


def _phrase(phrases: Sequence[str], event: Subject) -> str | None:
    title = (event.title or "").casefold()
    return next((phrase for phrase in phrases if phrase.casefold() in title), None)


def _emails(event: Subject) -> list[str]:
    """The addresses of the people invited and of who called it, in small letters."""
    named = [event.organizer_email, *(person.email for person in event.attendees)]
    return [email.lower() for email in named if email and _domain(email) != ROOM]


def _own_domains(event: Subject) -> set[str]:
    own = [person.email for person in event.attendees if person.is_self]
    if event.own_response == "organizer":
        own.append(event.organizer_email)
    own.append(event.account)
    return {_domain(email) for email in own if email and "@" in email}


def _domain(email: str) -> str:
    return email.rpartition("@")[2].lower()


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; odd names give the others
        return None
