"""How the answers to the gallery's queries are drawn, each on an empty pair of axes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gallery.look import Look

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri")
HOURS = range(8, 18)

Rows = Sequence[Mapping[Any, Any]]


# -- how meetings move ---------------------------------------------------------------------------------------

_MOVED = (
    ("earlier", -1e9, 0.0),
    ("up to\n30 min", 0.0, 0.5),
    ("30 min\nto 1 h", 0.5, 1.0),
    ("1 h\nto 4 h", 1.0, 4.0),
    ("4 h\nto 1 day", 4.0, 24.0),
    ("1 to\n3 days", 24.0, 72.0),
    ("more", 72.0, 1e9),
)


def _moves(axes: Any, rows: Rows, look: Look) -> None:
    counted = [sum(low < row["hours"] <= high for row in rows) for _, low, high in _MOVED]
    later = sum(counted[1:])
    bars = axes.bar([name for name, _, _ in _MOVED], counted, color=[look.orange, *[look.blue] * 6], width=0.72)
    axes.bar_label(bars, padding=3)
    look.say(axes, "How far meetings move", f"{len(rows)} moves in four weeks, {later} of them to a later time")
    look.axes(axes, x="moved by", y="moves")


# -- how late links arrive -----------------------------------------------------------------------------------

_BEFORE = (48, 24, 12, 8, 4, 2, 1, 0.5, 0.25, 0, -0.5)


def _links(axes: Any, rows: Rows, look: Look) -> None:
    share = [
        100 * sum(row["hours"] is not None and row["hours"] >= hours for row in rows) / len(rows) for hours in _BEFORE
    ]
    places = range(len(_BEFORE))
    axes.fill_between(places, share, color=look.green, alpha=0.25, linewidth=0)
    axes.plot(places, share, color=look.green, marker="o", linewidth=2)
    start = _BEFORE.index(0)
    axes.axvline(start, color=look.quiet, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("start", (start, 4), xytext=(-6, 0), textcoords="offset points", ha="right", color=look.text)
    for place in (0, start):
        axes.annotate(
            f"{share[place]:.0f} %", (place, share[place]), xytext=(0, 8), textcoords="offset points", ha="center",
            color=look.text,
        )  # fmt: skip
    names = ["2 days", "1 day", "12 h", "8 h", "4 h", "2 h", "1 h", "30 min", "15 min", "0", "30 min\nafter"]
    axes.set_xticks(list(places), names)
    axes.set_ylim(0, 101)
    look.say(axes, "How late links arrive", "Of the meetings that took place: those whose link was on record by then")
    look.axes(axes, x="before the start", y="meetings with a link, %")


# -- meeting load by weekday ---------------------------------------------------------------------------------


def _load(axes: Any, rows: Rows, look: Look) -> None:
    by_day = [[row for row in rows if row["weekday"] == weekday] for weekday in range(1, 6)]
    busy = [sum(float(row["busy"]) for row in day) / len(day) for day in by_day]
    twice = [sum(float(row["overlap"]) for row in day) / len(day) for day in by_day]
    left, right = [place - 0.2 for place in range(5)], [place + 0.06 for place in range(5)]
    bars = axes.bar(left, busy, color=look.blue, width=0.42, label="in meetings, mean")
    axes.bar(left, twice, color=look.orange, width=0.42, label="of it, booked twice")
    for place, day in zip(right, by_day, strict=True):
        spread = [place + 0.34 * number / max(1, len(day) - 1) for number in range(len(day))]
        axes.scatter(
            spread, [float(row["busy"]) for row in day], s=14, color=look.quiet, edgecolors=look.text, linewidths=0.7,
            zorder=3, label="one person's day" if place == right[0] else None,
        )  # fmt: skip
    labels = [f"{hours:.1f} h" for hours in busy]
    axes.bar_label(bars, labels=labels, label_type="center", color=look.on_bar, weight="bold")
    axes.set_xticks(range(5), DAYS)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.12)
    look.say(axes, "Meeting load by weekday", "Hours of a working day in which a person is in a meeting")
    look.axes(axes, x="", y="hours a day")
    look.legend(axes)


# -- when people meet ----------------------------------------------------------------------------------------


def _when(axes: Any, rows: Rows, look: Look) -> None:
    minutes: Counter[tuple[int, int]] = Counter({(row["weekday"], row["hour"]): int(row["minutes"]) for row in rows})
    hours = [[minutes[weekday, hour] / 60 for hour in HOURS] for weekday in range(1, 6)]
    most = max(map(max, hours))
    mesh = axes.pcolormesh(hours, cmap=look.colours, vmin=0, vmax=most, edgecolors=look.face, linewidth=2)
    for day, line in enumerate(hours):
        for place, value in enumerate(line):
            colour = look.on(value / most)
            axes.text(place + 0.5, day + 0.5, f"{value:.0f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(HOURS) + 1), [f"{hour}:00" for hour in (*HOURS, HOURS[-1] + 1)])
    axes.set_yticks([day + 0.5 for day in range(5)], DAYS)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02)
    look.bar(bar, "hours in four weeks")
    look.say(axes, "When people meet", "Hours of meetings of four people, in their own time zone")
    look.axes(axes, x="", y="", grid=False)


# -- how short the notice is ---------------------------------------------------------------------------------

_NOTICES = (
    ("after\nits start", -1e9, 0.0),
    ("less than\n1 h", 0.0, 1.0),
    ("1 h\nto 4 h", 1.0, 4.0),
    ("4 h\nto 1 day", 4.0, 24.0),
    ("1 to\n3 days", 24.0, 72.0),
    ("more", 72.0, 1e9),
)


def _notice(axes: Any, rows: Rows, look: Look) -> None:
    names = [name for name, _, _ in _NOTICES]
    below = [0] * len(names)
    for what, colour in (("moved", look.blue), ("got a link", look.green), ("cancelled", look.orange)):
        counted = [sum(row["what"] == what and low <= row["hours"] < high for row in rows) for _, low, high in _NOTICES]
        bars = axes.bar(names, counted, bottom=below, color=colour, width=0.72, label=what)
        axes.bar_label(bars, [str(n) if n > 3 else "" for n in counted], label_type="center", color=look.on_bar)
        below = [lower + more for lower, more in zip(below, counted, strict=True)]
    soon = sum(row["hours"] < 4 for row in rows)
    share = f"{100 * soon / len(rows):.0f} % of changes come less than four hours before the start, or after it"
    look.say(axes, "How short the notice is", share)
    look.axes(axes, x="change recorded before the meeting's start", y="changes")
    look.legend(axes)


PLOTS: Mapping[str, Callable[[Any, Rows, Look], None]] = {
    "moves": _moves,
    "links": _links,
    "load": _load,
    "when": _when,
    "notice": _notice,
}
"""Each by its name in the guide, which has the query as well."""
