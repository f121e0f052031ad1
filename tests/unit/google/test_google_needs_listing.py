"""Whether one incremental page settles it, or the window has to be listed."""

from typing import Any

import pytest

from calendar_pipeline.event import Item, Tombstone
from calendar_pipeline.providers.google import parse
from calendar_pipeline.providers.google.client import FEW, needs_listing

BERLIN = "Europe/Berlin"


def single(number: int = 0, **given: Any) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "start": {"dateTime": "2026-11-24T15:00:00Z"},
        "end": {"dateTime": "2026-11-24T16:00:00Z"},
        **given,
    }


def page(*items: Any, **given: Any) -> dict[str, Any]:
    return {"timeZone": BERLIN, "nextSyncToken": "t", "items": list(items), **given}


def told(answer: dict[str, Any]) -> list[Item]:
    return [parse.item(raw, zone=BERLIN) for raw in answer.get("items", []) if isinstance(raw, dict)]


@pytest.mark.parametrize(
    ("answer", "zone", "why"),
    [
        pytest.param(page(), BERLIN, None, id="nothing"),
        pytest.param({"timeZone": BERLIN, "nextSyncToken": "t"}, BERLIN, None, id="no-items-at-all"),
        pytest.param(page(single()), BERLIN, None, id="a-single-event"),
        pytest.param(page(single(status="cancelled")), BERLIN, None, id="a-deleted-single-event"),
        pytest.param(page(*map(single, range(FEW))), BERLIN, None, id="a-few"),
        pytest.param(page(*map(single, range(FEW + 1))), BERLIN, "many_changes", id="many"),
        pytest.param(page(nextPageToken="p"), BERLIN, "many_changes", id="another-page"),
        pytest.param(page(single(recurringEventId="s")), BERLIN, "series_touched", id="an-instance"),
        pytest.param(
            page(single(recurringEventId="s", status="cancelled")), BERLIN, "series_touched", id="a-cancelled-instance"
        ),
        pytest.param(page(single(recurrence=["RRULE:FREQ=DAILY"])), BERLIN, "series_touched", id="a-master"),
        pytest.param(page(), "Asia/Tokyo", "zone_changed", id="other-zone"),
        pytest.param(page(), None, "zone_changed", id="zone-was-unknown"),
        pytest.param({"nextSyncToken": "t", "items": []}, None, None, id="no-zone-then-and-now"),
        pytest.param(page(1, "x", None, ["recurringEventId"]), BERLIN, None, id="items-that-are-none"),
    ],
)
def test_why_an_incremental_answer_does_not_settle_it(
    answer: dict[str, Any], zone: str | None, why: str | None
) -> None:
    assert needs_listing(answer, told(answer), zone=zone) == why


def test_tombstones_count_as_changes() -> None:
    items = [Tombstone(provider_event_id=f"e{number}") for number in range(FEW + 1)]
    assert needs_listing(page(), items, zone=BERLIN) == "many_changes"
