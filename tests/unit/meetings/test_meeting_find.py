"""Which of an event's links wins, as it is found in real texts; and that no text costs much."""

from urllib.parse import quote

import pytest

from calendar_pipeline.meetings import extract, recognise
from calendar_pipeline.meetings.recognise import Source, find

MEET = "https://meet.google.com/abc-defg-hij"
ZOOM = "https://zoom.us/j/123456789"
WITH_PASSCODE = "https://zoom.us/j/123456789?pwd=a1"
SAFELINK = f"https://eur01.safelinks.protection.outlook.com/?url={quote(ZOOM, safe='')}&amp;data=1"
TEAMS_LITERAL = 'https://teams.microsoft.com/l/meetup-join/19:m@thread.v2/0?context={"Tid":"t-1","Oid":"o-1"}'


def found(*sources: Source) -> str | None:
    link = find(sources)
    return None if link is None else link.found


ORDER = [
    (
        "structured-first",
        [Source(ZOOM, "location"), Source("https://acme.webex.com/meet/j", "structured")],
        "https://acme.webex.com/meet/j",
    ),
    ("unrecognised-structured-is-passed-over", [Source("tel:+1", "structured"), Source(ZOOM, "text")], ZOOM),
    ("order-of-the-caller", [Source(MEET, "text"), Source(ZOOM, "location")], MEET),
    ("location-beats-automatic-meet", [Source(MEET, "structured"), Source(ZOOM, "location")], ZOOM),
    ("location-beats-meet-behind-a-meet", [Source(MEET, "structured"), Source(f"{MEET} {ZOOM}", "location")], ZOOM),
    ("text-does-not-beat-meet", [Source(MEET, "structured"), Source(ZOOM, "text")], MEET),
    ("meet-in-location-does-not-beat-meet", [Source(MEET, "structured"), Source(f"{MEET}?hs=1", "location")], MEET),
    (
        "location-does-not-beat-others",
        [Source(ZOOM, "structured"), Source("https://whereby.com/room", "location")],
        ZOOM,
    ),
    ("nothing", [Source("Room 4", "location"), Source("", "html")], None),
    ("no-sources", [], None),
]


@pytest.mark.parametrize(("sources", "expected"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_the_source_that_wins(sources: list[Source], expected: str | None) -> None:
    assert found(*sources) == expected


TEXTS = [
    ("first-wins", f"{MEET} or {ZOOM}", "text", MEET),
    ("unrecognised-is-passed-over", f"https://example.com/x {ZOOM}", "text", ZOOM),
    ("longest-of-one-meeting", f"{ZOOM} then {WITH_PASSCODE}", "text", WITH_PASSCODE),
    ("first-of-equals", f"{WITH_PASSCODE}&x=1 {WITH_PASSCODE}", "text", f"{WITH_PASSCODE}&x=1"),
    ("not-the-longest-of-another", f"{ZOOM} https://zoom.us/j/987654321?pwd=a1", "text", ZOOM),
    ("no-scheme-is-not-found", "zoom.us/j/123456789", "text", None),
    ("brackets", f"(<{ZOOM}>)", "text", ZOOM),
    ("outlook-plain-form", f"Click here<{ZOOM}>", "text", ZOOM),
    ("markdown", f"[join]({MEET}).", "text", MEET),
    ("end-of-sentence", f"Join {MEET}.", "text", MEET),
    ("emphasis", f"*{MEET}*", "text", f"{MEET}*"),
    ("quotes", f'"{MEET}"', "text", MEET),
    ("contract-keeps-what-it-does-not-trim", f"{ZOOM}!", "text", f"{ZOOM}!"),
    ("stricter-trim-when-needed", "https://acme.webex.com/meet/jroe!?", "text", "https://acme.webex.com/meet/jroe"),
    ("cjk-punctuation", "https://acme.webex.com/meet/jroe\u3002\u8a73\u7d30", "text", "https://acme.webex.com/meet/jroe"),
    ("unbalanced-bracket", "https://acme.webex.com/meet/jroe(host", "text", "https://acme.webex.com/meet/jroe"),
    ("backslash-n", f"{ZOOM}\\nMeeting", "text", ZOOM),
    ("upper-case-scheme", "HTTPS://zoom.us/j/123456789", "text", "HTTPS://zoom.us/j/123456789"),
    ("app-scheme", "zoommtg://zoom.us/join?confno=123456789", "text", "zoommtg://zoom.us/join?confno=123456789"),
    ("quoted-printable", "https://acme.webex.com/=\r\nmeet/jroe", "text", "https://acme.webex.com/meet/jroe"),
    ("ical-fold", "https://acme.webex.com/\r\n meet/jroe", "text", "https://acme.webex.com/meet/jroe"),
    ("teams-literal-context", f"Join {TEAMS_LITERAL} now", "text", TEAMS_LITERAL),
    ("href", f'<a href="{WITH_PASSCODE}">Join</a>', "html", WITH_PASSCODE),
    ("href-apostrophes", f"<a href='{WITH_PASSCODE}'>Join</a>", "html", WITH_PASSCODE),
    ("href-entities", f'<a href="{WITH_PASSCODE}&amp;x=1">Join</a>', "html", f"{WITH_PASSCODE}&amp;x=1"),
    ("quot-entities", f"<p>{TEAMS_LITERAL.replace(chr(34), '&quot;')}</p>", "html",
     TEAMS_LITERAL.replace('"', "&quot;").rstrip("}")),
    ("nbsp", f"<p>{MEET}&nbsp;or</p>", "html", MEET),
    ("hidden-colon", "<a href='https&#58;//zoom.us/j/123456789'>", "html", ZOOM),
    ("split-by-tags", "<p>https://zoom.us/j/<b>123456789</b></p><p>77</p>", "html", ZOOM),
    ("wbr", "https://zoom.us/j/1234<wbr>56789", "html", ZOOM),
    ("contract-keeps-an-escaped-bracket", f"&lt;{MEET}&gt;", "html", f"{MEET}&gt"),
    ("escaped-bracket", "&lt;https://whereby.com/r&gt;", "html", "https://whereby.com/r"),
    ("letters-of-any-script", "https://meet.jit.si/M\u00fcller!", "text", "https://meet.jit.si/M\u00fcller"),
    ("safelink", f'<a href="{SAFELINK}">x</a>', "html", SAFELINK),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "expected"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_the_link_as_it_stands_in_the_text(text: str, kind: str, expected: str | None) -> None:
    assert found(Source(text, kind)) == expected  # pyright: ignore[reportArgumentType]


def test_a_link_behind_the_part_that_is_read_is_not_found() -> None:
    assert found(Source(" " * extract.LONGEST_TEXT + ZOOM, "text")) is None


@pytest.mark.parametrize("cut", range(1, len(ZOOM)))
def test_a_link_cut_in_half_by_the_limit_is_not_found(cut: int) -> None:
    """Half a meeting number is another meeting's number."""
    assert found(Source(" " * (extract.LONGEST_TEXT - cut) + ZOOM, "text")) is None


def test_a_link_longer_than_the_text_that_is_read_is_not_found() -> None:
    assert found(Source(f"{ZOOM}?pwd=" + "a" * extract.LONGEST_TEXT, "text")) is None


def test_no_more_different_links_are_looked_at_than_are_promised() -> None:
    others = [f"https://example.com/{number}" for number in range(recognise.MOST_LINKS)]
    assert found(Source(" ".join([*others[1:], ZOOM]), "text")) == ZOOM
    assert found(Source(" ".join([*others, ZOOM]), "text")) is None


FLOODS = [
    "://" * 350_000,
    "http://" * 150_000,
    "https://zoom.us/j/" + "1" * 1_000_000,
    "<" * 1_000_000,
    "<p " * 300_000 + "http://x ",
    "<wbr " * 200_000 + "http://x ",
    "&#" * 500_000,
    "https://a.b=\n " * 70_000,
    "https://x.zoom.us/%25%25%2 <b>" * 30_000,
    'https://teams.microsoft.com/?context={"Tid":"a",' * 20_000,
    ("https://urldefense.com/v3/__" + "*" * 8_000 + "__;!! ") * 100,
    "https://" + "a." * 500_000,
    "msteams:/" * 100_000,
]


@pytest.mark.parametrize("flood", FLOODS, ids=[flood[:20] for flood in FLOODS])
def test_a_flood_is_read_in_part_and_cut_into_few_short_links(flood: str) -> None:
    links = [link for reading in extract.readings(flood, markup=True) for link in reading]
    assert all(len(link) <= 8192 for link in links)
    assert sum(map(len, links)) <= 4 * extract.LONGEST_TEXT
    assert find([Source(flood, "html")]) == find([Source(flood[: extract.LONGEST_TEXT + 1], "html")])
