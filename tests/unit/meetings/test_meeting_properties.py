"""What holds for every text: no error, a safe answer, and the same answer to the answer."""

import re
from typing import get_args
from urllib.parse import quote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.meetings import address, teams, zoom
from calendar_pipeline.meetings.bot_url import normalise_for_bot
from calendar_pipeline.meetings.recognise import MeetingLink, Source, find, recognise

PIECES = [
    "https://", "http://", "zoommtg://", "msteams:", "zoom.us", "us02web.zoom.us", "zoom.com", "zoomgov.com",
    "evil.com", "meet.google.com", "teams.microsoft.com", "teams.live.com", "acme.webex.com", "whereby.com",
    "app.element.io", "meet.proton.me", "vsee.com", "meeting.zoho.eu", "facetime.apple.com", "/j/123456789",
    "/my/jane", "/w/9", "/join", "?confno=123", "/abc-defg-hij", "/lookup/x", "/meet/12?p=a",
    "/l/meetup-join/19:m@thread.v2/0?context=", "/_#", "/v2/#", '{"Tid":"t","Oid":"o"}',
    "%7b%22Tid%22%3a%22t%22%2c%22Oid%22%3a%22o%22%7d", "/room", "/a/b", "?pwd=a.1", "&tk=b", "&key=1",
    "/acme/j.php?MTID=m1", "#frag", "?", "&", "=", ";", "&amp;", "&quot;", "&#47;", "&#x0;", "&#xd800;", "%", "%25",
    "%2F", "%0a", "@", ":", ":443", ":99999", "[", "]", "::1", "\\", "\x00", "\t", "\n", "=\r\n", "\ud800", "\u200b",
    "\u00ad", "\u3002", "<", ">", "<wbr>", "<b>", "<p>", '"', "'", "(", ")", "*", "**A", "__", "__;", "!!", ".", "..",
    "-", "\u0131", "\u212a", "https://eur01.safelinks.protection.outlook.com/?url=", "https://www.google.com/url?q=",
    "https://urldefense.com/v3/__", "https://urldefense.proofpoint.com/v2/url?u=", "https://secure-web.cisco.com/x/",
    "https://eu.protection.sophos.com/?u=",
]  # fmt: skip
PIECE = st.sampled_from(PIECES)
ENCODED_PIECE = PIECE.map(lambda piece: quote(piece, errors="replace"))
LINKISH = st.lists(st.one_of(PIECE, ENCODED_PIECE, st.text(max_size=3)), max_size=9).map("".join)
HOSTS = [piece for piece in PIECES if "." in piece and re.fullmatch(r"[a-z0-9.]+[a-z]", piece)]
HOST = st.sampled_from([*HOSTS, "meet.acme.example"])
PATH = st.sampled_from([piece for piece in PIECES if piece.startswith("/")])
LINK = st.tuples(st.sampled_from(["https://", "http://", "zoommtg://", "msteams://"]), HOST, PATH, LINKISH).map("".join)
GOOD = [
    "https://zoom.us/j/123456789", "https://us02web.zoom.com/my/jane", "zoommtg://zoom.us/join?confno=123&pwd=a",
    "https://meet.google.com/abc-defg-hij", "https://meet.google.com/lookup/x", "https://teams.live.com/meet/12?p=a",
    'https://teams.microsoft.com/l/meetup-join/19:m@thread.v2/0?context={"Tid":"t","Oid":"o"}', "https://vsee.com/a?b=1",
    "https://acme.webex.com/acme/j.php?MTID=m1", "https://acme.webex.com/meet/jane", "https://app.element.io/#/a",
    "https://meeting.zoho.eu/join?key=1", "https://facetime.apple.com/join#v=1", "https://whereby.com/room",
]  # fmt: skip
GOOD_LINK = st.tuples(st.sampled_from(GOOD), st.one_of(LINKISH, st.text(max_size=5))).map("".join)
TEXT_WITH_LINKS = st.lists(st.one_of(LINK, GOOD_LINK, PIECE, st.just(" ")), max_size=6).map("".join)
ANY = st.one_of(st.text(st.characters(codec=None)), LINKISH, LINK, GOOD_LINK, TEXT_WITH_LINKS)
PLATFORM_HOSTS = (".meet.acme.example", *(f".{host}" for host in HOSTS if host != "evil.com"))
LITERAL_TEAMS = re.compile(
    r'https://[a-z.]+/l/(?:meetup-join|meeting)/[^/]+/[^/]+\?context=\{"Tid":"[^"]+","Oid":"[^"]+"\}'
)
URL = re.compile(r"https://[a-z0-9.-]+/[!#-;=?-\[\]_a-z~]*")
EXTRA = ("meet.acme.example",)


def check(link: MeetingLink) -> None:
    """The promises of `MeetingLink`."""
    assert LITERAL_TEAMS.fullmatch(link.url) or URL.fullmatch(link.url), link.url
    assert f".{urlsplit(link.url.replace(chr(34), '')).hostname}".endswith(PLATFORM_HOSTS), link.url
    again = recognise(link.url, extra_hosts=EXTRA)
    assert again is not None, link.url
    assert (again.url, again.key, again.platform) == (link.url, link.key, link.platform)
    assert link.key.startswith(f"{link.platform}:")


@given(ANY)
def test_any_text_is_either_no_link_or_a_safe_one(text: str) -> None:
    link = recognise(text, extra_hosts=EXTRA)
    if link is not None:
        assert link.found == text
        check(link)


@given(st.lists(st.builds(Source, ANY, st.sampled_from(get_args(Source.__annotations__["kind"]))), max_size=4))
def test_any_event_has_no_link_or_a_safe_one_that_a_bot_can_take(sources: list[Source]) -> None:
    link = find(sources, extra_hosts=EXTRA)
    if link is not None:
        check(link)
        assert normalise_for_bot(link.found, extra_hosts=EXTRA) == link.url


@given(ANY)
def test_a_bots_url_is_its_own_normal_form(text: str) -> None:
    url = normalise_for_bot(text)
    if url is not None:
        assert normalise_for_bot(url) == url
        assert normalise_for_bot(f"  {url}\n") == url


@given(ANY, ANY)
def test_an_operators_entry_never_breaks_anything(text: str, entry: str) -> None:
    link = recognise(text, extra_hosts=[entry])
    assert link is None or link.url.startswith("https://")


@given(st.one_of(LINKISH, LINK))
def test_the_host_is_the_one_that_the_standard_parser_reads(text: str) -> None:
    parts = address.parse(text)
    if parts is not None and not parts.app and text.isascii():
        hostname = urlsplit(text).hostname
        assert hostname is not None
        assert hostname.removesuffix(".") == parts.host


@given(st.sampled_from([*zoom.HOSTS, *teams.HOSTS, "meet.google.com"]), st.text("abcz019-.", min_size=1, max_size=8))
def test_a_name_that_merely_ends_or_begins_with_a_platforms_is_refused(host: str, more: str) -> None:
    for path in ("/j/123456789", "/meet/24?p=a", "/abc-defg-hij"):
        assert recognise(f"https://{host}.{more}.evil.example{path}") is None
        if not more.endswith("."):
            assert recognise(f"https://{more}{host}{path}") is None or (more + host).endswith(
                ("zoom.us", "zoom.com", "zoom.de")
            )


@given(st.sampled_from(PIECES), ANY)
def test_a_wrapped_link_leads_where_the_link_leads(piece: str, text: str) -> None:
    url = piece + text
    link = recognise(url)
    if link is None:
        return
    wrapped = recognise(f"https://eur01.safelinks.protection.outlook.com/?url={quote(url, safe='')}&data=1")
    if url.isascii() and "safelinks" not in url and len(quote(url, safe="")) < 4000:
        assert wrapped is not None
        assert (wrapped.url, wrapped.key) == (link.url, link.key)
