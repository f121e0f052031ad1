"""Each row of the platform table: what is a meeting, how its link is written, by what key it is known."""

import base64
import json
from urllib.parse import quote

import pytest

from calendar_pipeline.meetings import address, platforms
from calendar_pipeline.meetings.recognise import recognise

THREAD = "19:meeting_NjQ3Zm@thread.v2"
CONTEXT = '{"Tid":"72f988bf-0000-0000-0000-2d7cd011db47","Oid":"550fae72-0000-0000-0000-cd84b90d5b5b"}'
TEAMS = f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0?context={CONTEXT}"
TEAMS_KEY = f"teams:{THREAD}:72f988bf-0000-0000-0000-2d7cd011db47:550fae72-0000-0000-0000-cd84b90d5b5b"
ENCODED = f"/l/meetup-join/{quote(THREAD, safe='')}/0?context={quote(CONTEXT, safe='')}"
COORDS = (
    base64.b64encode(
        json.dumps(
            {
                "conversationId": THREAD,
                "tenantId": "72f988bf-0000-0000-0000-2d7cd011db47",
                "organizerId": "550fae72-0000-0000-0000-cd84b90d5b5b",
                "messageId": "0",
            }
        ).encode()
    )
    .decode()
    .rstrip("=")
)
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"

ZOOM = [
    ("https://zoom.us/j/89012345678?pwd=aB3.1", "https://zoom.us/j/89012345678?pwd=aB3.1", "zoom:89012345678"),
    (
        "https://us02web.zoom.us/j/123456789?pwd=a&from=addon",
        "https://us02web.zoom.us/j/123456789?pwd=a",
        "zoom:123456789",
    ),
    ("https://acme.zoom.us/j/123456789", "https://acme.zoom.us/j/123456789", "zoom:123456789"),
    ("http://ZOOM.us./j/123456789#success", "https://zoom.us/j/123456789", "zoom:123456789"),
    ("https://zoom.us:443/j/123456789", "https://zoom.us/j/123456789", "zoom:123456789"),
    ("https://zoom.com/j/123456789", "https://zoom.us/j/123456789", "zoom:123456789"),
    ("https://us02web.zoom.com/j/123456789", "https://us02web.zoom.us/j/123456789", "zoom:123456789"),
    ("https://zoom.com.cn/j/123456789", "https://zoom.com.cn/j/123456789", "zoom:123456789"),
    ("https://acme.zoom-x.de/j/123456789", "https://acme.zoom-x.de/j/123456789", "zoom:123456789"),
    ("https://zoom.de/j/123456789", "https://zoom.de/j/123456789", "zoom:123456789"),
    ("https://zoomgov.com/j/1601234567", "https://zoomgov.com/j/1601234567", "zoom:gov:1601234567"),
    (
        "https://acme.zoomgov.com/j/1601234567?pwd=x",
        "https://acme.zoomgov.com/j/1601234567?pwd=x",
        "zoom:gov:1601234567",
    ),
    ("https://zoom.us/w/123456789?tk=a_b-c.d&pwd=p", "https://zoom.us/w/123456789?pwd=p&tk=a_b-c.d", "zoom:123456789"),
    ("https://zoom.us/wc/123456789/join?pwd=p", "https://zoom.us/wc/123456789/join?pwd=p", "zoom:123456789"),
    ("https://app.zoom.us/wc/join/123456789", "https://app.zoom.us/wc/join/123456789", "zoom:123456789"),
    ("https://zoom.us/s/123456789", "https://zoom.us/s/123456789", "zoom:123456789"),
    ("https://zoom.us/j/123-456-789", "https://zoom.us/j/123-456-789", "zoom:123456789"),
    ("https://zoom.us/my/Jane.Roe?pwd=x", "https://zoom.us/my/Jane.Roe?pwd=x", "zoom:my/jane.roe"),
    ("https://zoom.us/launch/jc/123456789", "https://zoom.us/launch/jc/123456789", "zoom:123456789"),
    ("zoommtg://zoom.us/join?confno=123456789&pwd=a1", "https://zoom.us/j/123456789?pwd=a1", "zoom:123456789"),
    ("zoomus://zoom.us/join?confno=123456789", "https://zoom.us/j/123456789", "zoom:123456789"),
    ("https://zm.page/abCd", "https://zm.page/abCd", "zoom:zm.page/abCd"),
    ("https://events.zoom.us/ejl/AbC.d_e", "https://events.zoom.us/ejl/AbC.d_e", "zoom:events/ejl/AbC.d_e"),
    ("https://zoom.us/other9", "https://zoom.us/other9", "zoom:zoom.us/other9"),
]
MEET = [
    ("https://meet.google.com/abc-defg-hij", "https://meet.google.com/abc-defg-hij", "google_meet:abc-defg-hij"),
    (
        "https://meet.google.com/ABC-defg-hij?authuser=1&hs=9",
        "https://meet.google.com/ABC-defg-hij",
        "google_meet:abc-defg-hij",
    ),
    ("https://meet.google.com/_meet/abc-defg-hij", "https://meet.google.com/abc-defg-hij", "google_meet:abc-defg-hij"),
    ("https://meet.google.com/lookup/Team1?authuser=0", "https://meet.google.com/lookup/Team1", "google_meet:team1"),
    ("https://g.co/meet/team1", "https://g.co/meet/team1", "google_meet:team1"),
]
TEAMS_FORMS = [
    (f"https://teams.microsoft.com{ENCODED}", TEAMS, TEAMS_KEY),
    (f"https://teams.microsoft.com{ENCODED}&anon=true", TEAMS, TEAMS_KEY),
    (TEAMS, TEAMS, TEAMS_KEY),
    (f"https://teams.live.com{ENCODED}", TEAMS, TEAMS_KEY),
    (f"https://teams.microsoft.com/_#{ENCODED}", TEAMS, TEAMS_KEY),
    (f"https://teams.microsoft.com/v2/?meetingjoin=true#{ENCODED}", TEAMS, TEAMS_KEY),
    (
        f"https://teams.microsoft.com/dl/launcher/launcher.html?url={quote('/_#' + ENCODED + '&anon=1', '')}&type=x",
        TEAMS,
        TEAMS_KEY,
    ),
    (f"https://teams.microsoft.com/light-meetings/launch?agent=web&coords={COORDS}%3D&version=2", TEAMS, TEAMS_KEY),
    (f"msteams:{ENCODED}", TEAMS, TEAMS_KEY),
    (f"msteams://teams.microsoft.com{ENCODED}", TEAMS, TEAMS_KEY),
    ("https://teams.microsoft.com/meet/2468?p=aB1&x=2", "https://teams.microsoft.com/meet/2468?p=aB1", "teams:2468"),
    ("https://teams.live.com/meet/9312345?p=aB1", "https://teams.live.com/meet/9312345?p=aB1", "teams:live:9312345"),
    ("https://teams.cloud.microsoft/meet/2468?p=aB1", "https://teams.cloud.microsoft/meet/2468?p=aB1", "teams:2468"),
    *(
        (f"https://{host}{ENCODED}", TEAMS.replace("teams.microsoft.com", host), TEAMS_KEY)
        for host in (
            "gov.teams.microsoft.us",
            "dod.teams.microsoft.us",
            "teams.microsoft.us",
            "teams.cloud.microsoft",
            "teams.microsoftonline.cn",
        )
    ),
    (
        f"https://teams.microsoft.com{ENCODED.replace('meetup-join', 'meeting')}",
        TEAMS.replace("meetup-join", "meeting"),
        TEAMS_KEY,
    ),
    (
        f"https://teams.microsoft.com/dl/launcher/launcher.html?url={quote('/_#/meet/2468?p=aB1&anon=true', safe='')}",
        "https://teams.microsoft.com/meet/2468?p=aB1",
        "teams:2468",
    ),
]
OTHERS = [
    (
        "webex",
        "https://acme.webex.com/acme/j.php?MTID=m0a1b&x=1",
        "https://acme.webex.com/acme/j.php?MTID=m0a1b",
        "webex:m0a1b",
    ),
    ("webex", "https://acme.webex.com/meet/jroe", "https://acme.webex.com/meet/jroe", "webex:acme.webex.com/jroe"),
    ("webex", "https://acme.webex.com/join/JRoe/", "https://acme.webex.com/join/JRoe", "webex:acme.webex.com/jroe"),
    ("webex", "https://acme.webex.com/acme/e.php?MTID=e9", "https://acme.webex.com/acme/e.php?MTID=e9", "webex:e9"),
    (
        "webex",
        f"https://acme.webex.com/wbxmjs/joinservice/sites/acme/meeting/download/{UUID}",
        f"https://acme.webex.com/wbxmjs/joinservice/sites/acme/meeting/download/{UUID}",
        f"webex:acme.webex.com/wbxmjs/joinservice/sites/acme/meeting/download/{UUID}",
    ),
    (
        "webex",
        "https://acme.webex.com/webappng/sites/acme/meeting/info/12?MTID=m1",
        "https://acme.webex.com/webappng/sites/acme/meeting/info/12?MTID=m1",
        "webex:acme.webex.com/webappng/sites/acme/meeting/info/12?MTID=m1",
    ),
    ("webex", f"https://acme.webex.com/m/{UUID}", f"https://acme.webex.com/m/{UUID}", f"webex:{UUID}"),
    ("gotomeeting", "https://global.gotomeeting.com/join/123456789", None, "gotomeeting:123456789"),
    ("gotomeeting", "https://gotomeeting.com/123456789", None, "gotomeeting:123456789"),
    ("gotomeeting", "https://meet.goto.com/123456789", None, "gotomeeting:123456789"),
    ("gotomeeting", "https://app.goto.com/meeting/123456789", None, "gotomeeting:123456789"),
    ("gotomeeting", "https://gotomeet.me/JaneRoe", None, "gotomeeting:janeroe"),
    ("gotowebinar", "https://global.gotowebinar.com/join/123/456", None, "gotowebinar:123/456"),
    ("jitsi", "https://meet.jit.si/MyRoom#config.x=1", "https://meet.jit.si/MyRoom", "jitsi:meet.jit.si/MyRoom"),
    ("jitsi", "https://8x8.vc/acme/room?jwt=a.b", "https://8x8.vc/acme/room?jwt=a.b", "jitsi:8x8.vc/acme/room?jwt=a.b"),
    ("jitsi", "https://meet.8x8.com/room", None, "jitsi:meet.8x8.com/room"),
    (
        "whereby",
        "https://whereby.com/room?roomKey=k&embed",
        "https://whereby.com/room?roomKey=k",
        "whereby:whereby.com/room?roomKey=k",
    ),
    ("whereby", "https://acme.whereby.com/room", None, "whereby:acme.whereby.com/room"),
    ("bluejeans", "https://bluejeans.com/123456789/1234", None, "bluejeans:123456789"),
    ("bluejeans", "https://primetime.bluejeans.com/a2m/live-event/abc", None, "bluejeans:abc"),
    ("ringcentral", "https://v.ringcentral.com/join/123456789?pw=a", None, "ringcentral:123456789"),
    ("ringcentral", "https://meetings.ringcentral.com/j/123456789", None, "ringcentral:123456789"),
    ("ringcentral", "https://video.ringcentral.com/join/123456789", None, "ringcentral:123456789"),
    ("ringcentral", "https://webinar.ringcentral.com/j/123456789", None, "ringcentral:123456789"),
    ("ringcentral", "https://meetings.officeathand.att.com/j/123456789", None, "ringcentral:123456789"),
    ("ringcentral", "https://x.btcloudphone.bt.com/j/123456789", None, "ringcentral:123456789"),
    ("chime", "https://chime.aws/1234567890", None, "chime:1234567890"),
    ("chime", "https://app.chime.aws/meetings/1234567890", None, "chime:1234567890"),
    ("slack", "https://app.slack.com/huddle/T012/C345", None, "slack:t012/c345"),
    ("discord", "https://discord.gg/aBc", None, "discord:abc"),
    ("discord", "https://discord.com/channels/1/2", None, "discord:1/2"),
    ("discord", "https://discordapp.com/invite/aBc", None, "discord:abc"),
    ("skype", "https://join.skype.com/aBc", None, "skype:abc"),
    ("skype_business", "https://meet.lync.com/acme/jroe/ABC", None, "skype_business:meet.lync.com/acme/jroe/ABC"),
    ("skype_business", "https://acme.lync.com/jroe/ABC", None, "skype_business:acme.lync.com/jroe/ABC"),
    ("facetime", "https://facetime.apple.com/join#v=1&p=a&k=b", None, "facetime:facetime.apple.com/join#v=1&p=a&k=b"),
    ("dialpad", "https://meet.dialpad.com/room", None, "dialpad:meet.dialpad.com/room"),
    ("dialpad", "https://www.dialpad.com/room/abc", None, "dialpad:abc"),
    ("lark", "https://vc.larksuite.com/j/123456789", None, "lark:123456789"),
    ("lark", "https://vc.feishu.cn/j/123456789", None, "lark:123456789"),
    ("tencent", "https://voovmeeting.com/dm/aBc", None, "tencent:abc"),
    ("tencent", "https://meeting.tencent.com/dm/aBc", None, "tencent:abc"),
    ("zoho", "https://meet.zoho.com/abc-defg-hij", None, "zoho:abc-defg-hij"),
    ("zoho", "https://meeting.zoho.eu/join?key=123", None, "zoho:123"),
    ("element", "https://app.element.io/#/room/!a:b", None, None),
    ("element", "https://call.element.io/room/#/team", "https://call.element.io/room#/team", None),
    ("proton", "https://meet.proton.me/join/id-A1#pwd-B2", None, None),
    *(
        (platform, f"https://{host}/my-room", None, f"{platform}:{host}/my-room")
        for platform, host in [
            ("join_me", "join.me"),
            ("uberconference", "uberconference.com"),
            ("around", "meet.around.co"),
            ("gather", "app.gather.town"),
            ("livestorm", "app.livestorm.co"),
            ("demio", "event.demio.com"),
            ("streamyard", "streamyard.com"),
            ("riverside", "riverside.fm"),
            ("pop", "pop.com"),
            ("tuple", "tuple.app"),
            ("workplace", "acme.workplace.com"),
            ("starleaf", "meet.starleaf.com"),
            ("lifesize", "call.lifesizecloud.com"),
            ("vsee", "vsee.com"),
            ("doxy", "doxy.me"),
            ("daily", "acme.daily.co"),
            ("livekit", "meet.livekit.io"),
            ("jitsi", "kmeet.infomaniak.com"),
            ("butter", "app.butter.us"),
            ("hopin", "hopin.com"),
            ("preply", "preply.com"),
        ]
    ),
]
ROWS = [
    *(("zoom", *row) for row in ZOOM),
    *(("google_meet", *row) for row in MEET),
    *(("teams", *row) for row in TEAMS_FORMS),
    *OTHERS,
]


@pytest.mark.parametrize(("platform", "given", "url", "key"), ROWS, ids=[f"{row[0]}-{row[1][:70]}" for row in ROWS])
def test_a_platforms_link_is_recognised(platform: str, given: str, url: str | None, key: str | None) -> None:
    link = recognise(given)
    assert link is not None
    assert (link.found, link.platform, link.url) == (given, platform, url or given)
    assert key is None or link.key == key


@pytest.mark.parametrize("given", [row[1] for row in ROWS], ids=[f"{row[0]}-{row[1][:70]}" for row in ROWS])
def test_a_normalised_link_stays_as_it_is(given: str) -> None:
    link = recognise(given)
    assert link is not None
    again = recognise(link.url)
    assert again is not None
    assert (again.url, again.key) == (link.url, link.key)


@pytest.mark.parametrize(
    "url",
    [
        "https://zoom.us/webinar/register/WN_abc123",
        "https://zoom.us/meeting/register/tJ123",
        "https://us02web.zoom.us/meeting/tZ123/ics?icsToken=9",
        "https://zoom.us/rec/share/abc123",
        "https://zoom.us/u/abc123",
        "https://zoom.us/zoomconference?m=123",
        "https://support.zoom.us/hc/en-us/articles/201362233",
        "https://zoom.us/join?confno=abc",
        "https://zoom.us/",
        "https://zoom.us",
        "https://zoomgov.com/other9",
        "https://stream.meet.google.com/stream/abc-defg-hij",
        "https://tel.meet/abc-defg-hij?pin=123",
        "https://meet.google.com/",
        "https://meet.google.com/new",
        "https://meet.google.com/landing",
        "https://meet.google.com/abc-defg-hijk",
        "https://teams.microsoft.com/meet/2468",
        "https://teams.microsoft.com/l/meeting/new?subject=x",
        "https://teams.microsoft.com/l/meetup-join/19%3ax%40thread.v2/0",
        "https://teams.microsoft.com/l/chat/0/0?users=a",
        "https://teams.microsoft.com/light-meetings/launch?coords=bm9wZQ",
        "https://teams.microsoft.com/light-meetings/launch?coords=WzFd",
        "https://teams.microsoft.com/light-meetings/launch?coords=e30",
        "https://acme.webex.com/webappng/sites/acme/meeting/register/12",
        "https://www.webex.com/downloads.html",
        "https://attendee.gotowebinar.com/register/123",
        "https://www.goto.com/pricing",
        "https://meet.jit.si/",
        "https://whereby.com/pricing",
        "https://discord.com/terms",
        "https://facetime.apple.com/join",
        "https://www.dialpad.com/features/room",
    ],
)
def test_a_page_that_nobody_can_join_is_not_recognised(url: str) -> None:
    assert recognise(url) is None


EVIL = [
    "https://zoom.us.evil.com/j/123456789",
    "https://zoom.us@evil.com/j/123456789",
    "https://zoom.us:443@evil.com/j/123456789",
    "https://user:pw@zoom.us/j/123456789",
    "https://evil.com@zoom.us/j/123456789",
    "https://evil.com/?zoom.us/j/1",
    "https://evil.com/https://zoom.us/j/123456789",
    "https://evil.com/?url=https://zoom.us/j/123456789",
    "https://evil.com#zoom.us/j/123456789",
    "https://xzoom.us/j/123456789",
    "https://meet.google.com.evil.com/abc-defg-hij",
    "https://evil.meet.google.com/abc-defg-hij",
    "https://teams.microsoft.com.evil.com/meet/2468?p=a",
    "https://xn--zom-0na.us/j/123456789",
    "https://z\u043e\u043em.us/j/123456789",
    "https://zoom\uff0eus/j/123456789",
    "https://\u017foom.us/j/123456789",
    "https://wor\u212aplace.com/room",
    "http\u017f://zoom.us/j/123456789",
    "https://zoom.us\\.evil.com/j/123456789",
    "https://evil.com\\@zoom.us/j/123456789",
    "https:\\\\zoom.us/j/123456789",
    "https:/\\zoom.us/j/123456789",
    "https://zoom.us\t/j/123456789",
    "https://zo\nom.us/j/123456789",
    "https://zoom.us/j/\r123456789",
    "https://zoom.us/j/123456789\x00",
    " https://zoom.us/j/123456789",
    "\x01https://zoom.us/j/123456789",
    "https://zoom.us/j/12\ud800",
    "https://zoom.us:8443/j/123456789",
    "https://zoom.us:80/j/123456789",
    "http://zoom.us:443/j/123456789",
    "https://zoom.us:0443/j/123456789",
    "https://zoom.us:/j/123456789",
    "https://zoom.us:99999999/j/123456789",
    "https://zoom.us:\u0664\u0664\u0663/j/123456789",
    "https://[::1/j/123456789",
    "https://[zoom.us]/j/123456789",
    "https://zoom.us%2Fj%2F123456789@evil.com/",
    "https://zoom.us%2eevil.com/j/123456789",
    "https://zoom.us&#47;j/123456789",
    "https://evil.com&#47;@zoom.us/j/123456789",
    "https://.zoom.us/j/123456789",
    "https://a..zoom.us/j/123456789",
    "https://zoom.us../j/123456789",
    "https:///zoom.us/j/123456789",
    "https:zoom.us/j/123456789",
    "ftp://zoom.us/j/123456789",
    "javascript://zoom.us/j/123456789",
    "zoommtg://evil.com/join?confno=123456789",
    "zoommtg://teams.microsoft.com/meet/2468?p=a",
    "msteams://zoom.us/j/123456789",
    "https://zoom.us/j/123456789?x=https://evil.com/",
    "https://zoom.us/j/123456789?x=https%3A%2F%2Fevil.com",
    "https://zoom.us/j/123456789?x=https%253A%252F%252Fevil.com",
    "https://safelinks.protection.outlook.com.evil.com/?url=https%3A%2F%2Fzoom.us%2Fj%2F123456789",
    "https://google.com.evil.com/url?q=https://zoom.us/j/123456789",
    "https://evilgoogle.com/url?q=https://zoom.us/j/123456789",
    "",
    "https://",
    "https://zoom.us/j/1" + "1" * 9000,
]


@pytest.mark.parametrize("url", EVIL, ids=[ascii(url)[:70] for url in EVIL])
def test_what_only_looks_like_a_meeting_is_refused(url: str) -> None:
    assert recognise(url) is None


def test_the_operators_hosts_count_with_any_page_but_the_first() -> None:
    link = recognise("https://meet.acme.example/Room?utm_source=x&a=1", extra_hosts=["Acme.Example."])
    assert link is not None
    assert (link.platform, link.url, link.key) == (
        "custom",
        "https://meet.acme.example/Room?a=1",
        "custom:meet.acme.example/Room?a=1",
    )
    assert recognise("https://meet.acme.example/", extra_hosts=["acme.example"]) is None
    assert recognise("https://xacme.example/room", extra_hosts=["acme.example"]) is None


@pytest.mark.parametrize("entry", ["", ".", "com", "*.com", " ", "https://evil.com", "\ud800"])
def test_an_operators_entry_that_is_no_host_lets_nothing_in(entry: str) -> None:
    assert recognise("https://evil.com/room", extra_hosts=[entry]) is None


def test_an_operators_host_does_not_open_a_platforms_other_pages() -> None:
    assert recognise("https://zoom.us/rec/share/abc123", extra_hosts=["zoom.us"]) is None


def test_invisible_characters_that_browsers_drop_are_dropped() -> None:
    link = recognise("https://zo\u00adom.us/j/123\u200b456789\ufeff")
    assert link is not None
    assert link.url == "https://zoom.us/j/123456789"


def test_a_path_inside_a_path_inside_a_path_is_not_followed_for_ever() -> None:
    assert recognise("https://teams.microsoft.com" + "/_#" * 2000 + "/meet/2468?p=a") is None


def test_a_tracking_parameter_is_no_part_of_the_key() -> None:
    plain, tracked = (
        recognise("https://vsee.com/c/room?a=1"),
        recognise("https://vsee.com/c/room?a=1&utm_x=2&from=addon"),
    )
    assert plain is not None
    assert tracked is not None
    assert plain.key == tracked.key


def test_deep_json_in_a_light_meeting_is_no_meeting() -> None:
    coords = base64.b64encode(b"[" * 5000).decode()
    assert recognise(f"https://teams.microsoft.com/light-meetings/launch?coords={coords}") is None


def test_host_tables_do_not_overlap() -> None:
    parts = address.parse("https://example.com/room")
    assert parts is not None
    assert platforms.place(parts) is None
