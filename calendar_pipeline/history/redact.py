"""Taking a person out of what is kept: every mention of an address, and the names that stand beside it. Pure.

The address is found as it is written in texts, links and JSON; a longer address that contains it is another person's.
Names in free text are only found if they are given.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import cast
from urllib.parse import quote, unquote

from calendar_pipeline.event import Attendee, Awkward, Event, Item

NAMES = frozenset({"name", "displayName", "comment", "id"})
"""Keys of an object about a person that go with the address."""

_DOMAIN = re.compile(r"(?:@|%40)([\w-]+(?:\.[\w-]+)*)")
_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+\Z")
_BEFORE = r"(?:(?<![\w.+%-])|(?<=%[0-9A-Fa-f]{2}))"
_AFTER = r"(?!\.?[\w-])"
_BEGINS = re.compile(rf"{_BEFORE}(?!\Z)")

LONGEST_LOCAL = 192
"""Characters before an @: 64 of RFC 5321, each written with three in a link."""

FIXED = frozenset(
    {"provider_event_id", "series_id", "time_zone", "status", "change", "changed", "visibility", "event_type",
     "own_response", "meeting_platform"}
)  # fmt: skip
"""Columns of words that nobody writes freely, ids and zones: no name stands there, whatever it is spelled like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody whose content was erased."""

    erasure: str
    digest: str
    """Of the address, in hex."""
    names: Sequence[str] = field(default=(), repr=False)


def digest(project: str, email: str) -> bytes:
    """How an erased address is recognised in a project when it is told again; the address itself is not kept."""
    return sha256(f"{project}\0{email.casefold()}".encode()).digest()


def alias(erasure: str) -> str:
    """What stands in place of an erased address: no mailbox can have it (RFC 2606)."""
    return f"{erasure}@erased.invalid"


class Redactor:
    """Replaces addresses by their aliases, and `names` by nothing."""

    def __init__(self, aliases: Mapping[str, str], *, names: Sequence[str] = ()) -> None:
        self._aliases = {email.casefold(): alias for email, alias in aliases.items()}
        self._written = {form: alias for email, alias in self._aliases.items() for form in forms(email)}
        longest = sorted(self._written, key=len, reverse=True)
        self._pattern = (
            re.compile(f"{_BEFORE}(?:{'|'.join(map(re.escape, longest))}){_AFTER}", re.IGNORECASE) if longest else None
        )
        self._names = _spelled(names)

    def text(self, text: str) -> str:
        """The text without the persons."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._written[found.group().casefold()], text)
        return self._names.sub("", text) if self._names is not None else text

    def value(self, value: object) -> object:
        """The JSON value without the persons; an object that holds an address loses what names its owner."""
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.value(inner) for inner in cast("list[object]", value)]
            case Mapping():
                pairs = cast("Mapping[str, object]", value)
                about = any(isinstance(inner, str) and inner.casefold() in self._aliases for inner in pairs.values())
                return {
                    self.text(key): None if about and key in NAMES else self.value(inner)
                    for key, inner in pairs.items()
                }
            case _:
                return value

    def item(self, item: Event | Awkward) -> Event | Awkward:
        """The event without the persons, column by column as `erase` redacts those that are kept."""
        raw = cast("Mapping[str, object]", self.value(item.raw))
        if isinstance(item, Awkward):
            return replace(item, raw=raw)
        return replace(
            item,
            ical_uid=self._maybe(item.ical_uid),
            title=self._maybe(item.title),
            location=self._maybe(item.location),
            meeting_url=self._maybe(item.meeting_url),
            meeting_link=self._maybe(item.meeting_link),
            meeting_key=self._maybe(item.meeting_key),
            organizer_email=self._maybe(item.organizer_email),
            attendees=tuple(self._attendee(person) for person in item.attendees),
            raw=raw,
        )

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _attendee(self, person: Attendee) -> Attendee:
        about = any(told is not None and told.casefold() in self._aliases for told in (person.email, person.name))
        return replace(person, email=self._maybe(person.email), name=None if about else self._maybe(person.name))


def forms(email: str) -> list[str]:
    """How an address may be written: plainly, in a link, in ASCII JSON; in small letters."""
    small = email.casefold()
    return list(dict.fromkeys((small, quote(small, safe="").casefold(), json.dumps(small)[1:-1])))


def spellings(name: str) -> list[str]:
    """How a name may be written, in letters of either case: composed or not, in a link, in ASCII JSON."""
    folded = (name, name.upper())  # capitals may be other letters: ß is SS
    composed = [unicodedata.normalize(form, one) for one in folded for form in ("NFC", "NFD")]
    written = [form for one in composed for form in (one, quote(one, safe=""), json.dumps(one)[1:-1])]
    return list(dict.fromkeys((name, *written)))


def _spelled(names: Iterable[str]) -> re.Pattern[str] | None:
    """What finds these names, the longest of those that begin at a place; None if there are none."""
    written = sorted({form for name in names if name.strip() for form in spellings(name)}, key=len, reverse=True)
    if not written:
        return None
    return re.compile(rf"(?:(?<!\w)|(?<=%[0-9A-F]{{2}}))(?:{'|'.join(map(re.escape, written))})(?!\w)", re.IGNORECASE)


def items(told: Iterable[Item], *, project: str, persons: Sequence[Person]) -> Iterator[Item]:
    """What a provider told, without `persons`, one after another as they were erased: so it is as what was kept."""
    erased: dict[str, str] = {}
    for person in persons:
        erased.setdefault(person.digest, person.erasure)  # the alias that stands in what is kept is the first one's
    named = _spelled(name for person in persons for name in person.names)
    for item in told:
        if not isinstance(item, Event | Awkward):
            yield item
            continue
        found = _mentioned(item.raw, project, erased)
        is_named = named is not None and any(named.search(text) for text in _texts_of(item))
        yield _without(item, persons, found) if found or is_named else item


def _without(item: Event | Awkward, persons: Sequence[Person], found: Mapping[str, str]) -> Event | Awkward:
    for person in persons:
        aliases = {email: alias(erasure) for email, erasure in found.items() if erasure == person.erasure}
        if aliases or person.names:
            item = Redactor(aliases, names=person.names).item(item)
    return item


def _texts_of(item: Event | Awkward) -> Iterator[str]:
    """Every text that is kept of an item, and that a name may stand in."""
    yield from texts(item.raw)
    if isinstance(item, Event):
        kept = (item.title, item.location, item.meeting_url, item.meeting_link, item.meeting_key, item.ical_uid)
        yield from filter(None, (*kept, item.organizer_email))
        for person in item.attendees:
            yield from filter(None, (person.email, person.name))


def _mentioned(raw: object, project: str, erased: Mapping[str, str]) -> dict[str, str]:
    """The erased addresses in a JSON value, with their erasures."""
    found: dict[str, str] = {}
    for text in texts(raw):
        for at in _DOMAIN.finditer(text):
            if (before := _LOCAL.search(text, max(at.start() - LONGEST_LOCAL, 0), at.start())) is None:
                continue
            local, domain = before.group(), at.group(1)
            # What stands before an address may look like a part of it: a quotation mark, the rest of a link.
            for begin in _BEGINS.finditer(local):
                part = local[begin.start() :]
                for email in {f"{part}@{domain}".casefold(), f"{unquote(part)}@{domain}".casefold()}:
                    if (erasure := erased.get(digest(project, email).hex())) is not None:
                        found[email] = erasure
    return found


def texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from texts(inner)
