"""Failures on demand, as far as all providers share them: what one is, and which request it strikes.

Which kinds there are and what each answers is a provider's own: `google.faults`, `microsoft.faults`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from sandbox.errors import Unusable

Provider = Literal["google", "microsoft"]

SPOILS = ("slow", "truncated", "reset", "lost_answer", "html_ok", "html_bad_gateway")
"""Kinds that every provider has: they spoil a normal answer on the wire, see `wire.spoiled`."""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One failure to come. It strikes requests that fit all of its conditions, `times` times (None: for ever)."""

    kind: str
    endpoint: str = ""
    """`token`, `events.list`, `calendarView`, …, `events.*` or `*`; empty: where the kind belongs."""
    calendar_id: str | None = None
    client_id: str | None = None
    refresh_token: str | None = None
    times: int | None = 1
    seconds: float = 2.0
    """For `slow`: how long the answer takes."""
    retry_after: int | None = None
    """For error answers: the Retry-After header."""
    description: str | None = None
    """For token errors: another error_description."""
    account: str | None = None
    provider: Provider | None = None
    """None: whichever has this kind."""
    id: int = 0


class Target(msgspec.Struct, frozen=True):
    """What of a request a fault can be aimed at."""

    endpoint: str
    calendar_id: str | None = None
    client_id: str | None = None
    refresh_token: str | None = None
    sync_token: bool = False
    """The request continues from an earlier answer: a sync token, a delta link."""
    account: str | None = None
    provider: Provider = "google"


class Kinds(msgspec.Struct, frozen=True):
    """The kinds of one provider."""

    families: Mapping[str, Sequence[str]]
    """Their names, for people: those of the family `token` strike the token endpoint only."""
    home: str
    """Where the others strike if no endpoint is named."""
    at_home_elsewhere: Mapping[str, str]
    """Kinds with another home."""
    only_with_token: Sequence[str]
    """Kinds that strike only requests with a sync token."""
    aliases: Mapping[str, str]
    """Short names of endpoints."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every kind."""
        return tuple(kind for family in self.families.values() for kind in family)

    def strikes(self, fault: Fault, request: Target) -> bool:
        """Whether it is meant for this request."""
        if fault.kind not in self.all or fault.provider not in (None, request.provider):
            return False
        where = self.aliases.get(fault.endpoint, fault.endpoint) or self._home(fault.kind)
        if not (request.endpoint.startswith(where[:-1]) if where.endswith("*") else request.endpoint == where):
            return False
        if fault.kind in self.only_with_token and not request.sync_token:
            return False
        conditions = ((getattr(fault, name), getattr(request, name)) for name in _CONDITIONS)
        return all(mine is None or mine == theirs for mine, theirs in conditions)

    def _home(self, kind: str) -> str:
        return "token" if kind in self.families["token"] else self.at_home_elsewhere.get(kind, self.home)


_CONDITIONS = ("calendar_id", "client_id", "refresh_token", "account")


class Faults:
    """The failures to come, oldest first."""

    def __init__(self, kinds: Mapping[Provider, Kinds]) -> None:
        self.waiting: list[Fault] = []
        self.kinds = kinds
        self._made = 0

    def add(self, fault: Fault) -> Fault:
        """Remember one more failure; raises `Unusable` that names all kinds if there is no such one."""
        known = [kinds for name, kinds in self.kinds.items() if fault.provider in (None, name)]
        having = [kinds for kinds in known if fault.kind in kinds.all]
        if not having:
            names = dict.fromkeys(kind for kinds in known for kind in kinds.all)
            message = f"There is no fault {fault.kind!r}. Known: {', '.join(names)}."
            raise Unusable(message)
        if fault.times is not None and fault.times < 1:
            message = "A fault strikes at least once: give times=1 or more, or none for 'until cleared'."
            raise Unusable(message)
        if fault.endpoint not in ("", "token") and all(fault.kind in kinds.families["token"] for kinds in having):
            message = f"{fault.kind} is an answer of the token endpoint only."
            raise Unusable(message)
        self._made += 1
        fault.id = self._made
        self.waiting.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> int:
        """Forget one, or all; how many were forgotten."""
        kept = [one for one in self.waiting if fault_id is not None and one.id != fault_id]
        forgotten = len(self.waiting) - len(kept)
        self.waiting = kept
        return forgotten

    def take(self, request: Target) -> Fault | None:
        """The first failure meant for this request; used up by one."""
        kinds = self.kinds[request.provider]
        for fault in self.waiting:
            if kinds.strikes(fault, request):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self.waiting.remove(fault)
                return fault
        return None
