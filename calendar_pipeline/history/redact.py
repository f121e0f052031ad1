"""Taking a person out of what is kept: every mention of an address, and the names that stand beside it. Pure.

The address is found as it is written in texts, links and JSON; a longer address that contains it is another person's.
Names in free text are only found if they are given.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import cast
from urllib.parse import quote

from calendar_pipeline.event import Attendee, Awkward, Event, Item

NAMES = frozenset({"name", "displayName", "comment", "id"})
"""Keys of an object about a person that go with the address."""

_EMAIL = re.compile(r"[\w.!#$&'*+/=?^`{|}~-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
_BEFORE = r"(?:(?<![\w.+%-])|(?<=%[0-9A-Fa-f]{2}))"
_AFTER = r"(?!\.?[\w-])"


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
        written = {form: alias for email, alias in self._aliases.items() for form in forms(email)}
        self._written = written
        longest = sorted(written, key=len, reverse=True)
        self._pattern = re.compile(f"{_BEFORE}(?:{'|'.join(map(re.escape, longest))}){_AFTER}", re.IGNORECASE)
        spelled = sorted((name for name in names if name.strip()), key=len, reverse=True)
        self._names = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, spelled))})(?!\w)", re.IGNORECASE)
        self._has_names = bool(spelled)

    def text(self, text: str) -> str:
        """The text without the persons."""
        text = self._pattern.sub(lambda found: self._written[found.group().casefold()], text)
        return self._names.sub("", text) if self._has_names else text

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

    def event(self, event: Event) -> Event:
        """The event without the persons."""
        return replace(
            event,
            ical_uid=self._maybe(event.ical_uid),
            title=self._maybe(event.title),
            location=self._maybe(event.location),
            meeting_url=self._maybe(event.meeting_url),
            meeting_link=self._maybe(event.meeting_link),
            meeting_key=self._maybe(event.meeting_key),
            organizer_email=self._maybe(event.organizer_email),
            attendees=tuple(self._attendee(person) for person in event.attendees),
            raw=cast("Mapping[str, object]", self.value(event.raw)),
        )

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _attendee(self, person: Attendee) -> Attendee:
        if person.email is None or person.email.casefold() not in self._aliases:
            return person
        return replace(person, email=self._aliases[person.email.casefold()], name=None)


def forms(email: str) -> list[str]:
    """How an address may be written: plainly, in a link, in ASCII JSON; in small letters."""
    small = email.casefold()
    return list(dict.fromkeys((small, quote(small, safe="").casefold(), json.dumps(small)[1:-1])))


def items(told: Iterable[Item], *, project: str, erased: Mapping[str, str]) -> Iterator[Item]:
    """What a provider told, without the persons whose content was erased before: `erased` is digest → erasure."""
    for item in told:
        match item:
            case Event() | Awkward():
                found = _mentioned(item.raw, project, erased)
                if not found:
                    yield item
                elif isinstance(item, Event):
                    yield Redactor(found).event(item)
                else:
                    yield replace(item, raw=cast("Mapping[str, object]", Redactor(found).value(item.raw)))
            case _:
                yield item


def _mentioned(raw: object, project: str, erased: Mapping[str, str]) -> dict[str, str]:
    """The erased addresses in a JSON value, with their aliases."""
    found: dict[str, str] = {}
    for text in texts(raw):
        for match in _EMAIL.findall(text):
            email = re.sub("%40", "@", match.casefold())
            # An address at a text's end or within a link may have picked up what stands before it.
            for part in (email, re.split(r"[/=?&%:]", email)[-1]):
                if (erasure := erased.get(digest(project, part).hex())) is not None:
                    found[part] = alias(erasure)
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
