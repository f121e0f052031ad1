"""Why changes were seen late, and what to do about it. Pure."""

from collections.abc import Sequence

from calendar_pipeline.freshness.store import Measured


def late(legs: Sequence[Measured], *, alarm: float) -> list[str]:
    """A sentence or two for each provider whose slower 5 of 100 changes took more than `alarm` seconds to be seen."""
    by_leg = {(one.platform, one.leg): one for one in legs}
    return [
        f"Of {one.platform}'s {one.changes} changes 5 in 100 were seen after {one.p95:.0f} s or later. "
        + _remedy(by_leg.get((one.platform, "pushed")), one, alarm=alarm)
        for one in legs
        if one.leg == "visible" and one.p95 > alarm
    ]


def _remedy(pushed: Measured | None, seen: Measured, *, alarm: float) -> str:
    if pushed is None or pushed.changes < seen.changes / 2:
        return (
            "Most were found by polls: no notification told of them. Set PUBLIC_BASE_URL if it is not set; else the "
            "checks of notification_channels say what is wrong."
        )
    if pushed.p95 > alarm:
        return (
            "Their notifications came late: see that the API answers /external_webhooks/ quickly and always. "
            "Providers wait before they repeat one that was refused, and slow down for an address that is slow."
        )
    return (
        "Their notifications came in time: see that a live run works (LIVE_RUNS, live_sensor); if one does, raise "
        "LIVE_RUNS or SYNC_THREADS. The check's metadata names the calendars that were latest."
    )
