"""What endpoints, networks and clocks do wrong, and what becomes of each. Real sockets; time is the test's."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from calendar_pipeline.projects import store as projects
from calendar_pipeline.webhooks import client, subscriptions
from calendar_pipeline.webhooks.address import Policy, Refused
from calendar_pipeline.webhooks.client import Limits

STRICT = Policy()
"""What production has: https, port 443, public addresses."""

ANY_PORT = Policy(http=True, ports=None)
"""For names that lead to our own receivers: only their addresses stand in the way."""


def wait(hooks: Any, *, after: Any) -> timedelta:
    """How long the one delivery waits from then on."""
    return hooks.delivery()["next_attempt_at"] - after


# -- 1 to 5: answers that ask for patience --------------------------------------------------------------------------


def test_1_three_times_500_then_200_is_delivered_once_more_under_the_same_id(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(*[behaviours.answer(500)] * 3, behaviours.answer(200))
    [message] = hooks.tell(hooks.subscribe(endpoint.url))
    for attempt in range(1, 5):
        hooks.deliver()
        assert len(endpoint.requests) == attempt
        hooks.wait_out() if attempt < 4 else None
    assert {request.id for request in endpoint.requests} == {message}
    assert len({request.body for request in endpoint.requests}) == 1
    assert len({request.headers["x-webhook-signature"] for request in endpoint.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in endpoint.requests}) == 4
    assert (hooks.delivery()["status"], hooks.delivery()["attempts"]) == ("delivered", 4)
    assert [(row["outcome"], row["status"]) for row in hooks.attempts()] == [("failed", 500)] * 3 + [("delivered", 200)]
    hooks.clock.pass_by(days=30)
    assert hooks.deliver().claimed == 0


def test_2_what_was_told_during_four_days_of_outage_arrives_after_it(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.reset)
    subscription = hooks.subscribe(endpoint.url)
    began = hooks.clock()
    messages = hooks.tell(subscription, 3)
    while hooks.clock() < began + timedelta(days=4) - timedelta(hours=20):
        hooks.deliver()
        hooks.wait_out()
    messages += hooks.tell(subscription, 1)
    hooks.clock.now = max(hooks.clock.now, began + timedelta(days=4))
    hooks.deliver()
    assert hooks.subscription(subscription)["disabled_at"] is None
    endpoint.behave(behaviours.answer(200))
    before = len(endpoint.requests)
    hooks.wait_out()
    hooks.deliver()
    hooks.clock.pass_by(seconds=31)  # the first success brings the others forward
    hooks.deliver()
    assert {row["status"] for row in hooks.deliveries()} == {"delivered"}
    assert sorted(request.id for request in endpoint.requests[before:]) == sorted(messages)
    assert hooks.subscription(subscription)["silences"] == 0


def test_3_410_disables_at_once_is_told_elsewhere_and_holds_what_is_due(hooks: Any, behaviours: Any) -> None:
    gone, other = hooks.endpoint(), hooks.endpoint()
    gone.behave(behaviours.answer(410))
    subscription = hooks.subscribe(gone.url)
    hooks.subscribe(other.url, triggers=["webhook.endpoint_disabled"])
    hooks.tell(subscription, 1)
    assert hooks.deliver().disabled == 1
    row = hooks.subscription(subscription)
    assert (row["disabled_reason"], row["disabled_at"]) == ("gone", hooks.clock())
    hooks.tell(subscription, 1)
    hooks.clock.pass_by(days=1)
    hooks.deliver()
    assert len(gone.requests) == 1
    [told] = other.bodies()
    assert (told["trigger"], told["data"]["webhook_id"], told["data"]["reason"]) == (
        "webhook.endpoint_disabled",
        subscription,
        "gone",
    )
    gone.behave(behaviours.answer(200))
    with hooks.db.begin() as connection:
        change = subscriptions.SubscriptionPatch(enabled=True)
        subscriptions.patch(connection, hooks.project, subscription, change, now=hooks.clock())
    assert hooks.deliver().delivered == 2


def test_4_429_with_retry_after_120_is_not_asked_before_120_seconds(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(429, Retry_After="120"), behaviours.answer(200))
    subscription = hooks.subscribe(endpoint.url, concurrency=1)
    hooks.tell(subscription, 3)
    hooks.deliver()
    assert len(endpoint.requests) == 1, "what else is due to it waits as well"
    hooks.clock.pass_by(seconds=119)
    assert hooks.deliver().claimed == 0
    hooks.clock.pass_by(seconds=1)
    assert hooks.deliver().delivered == 3


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("soon", 60, 60),
        ("-5", 60, 60),
        ("", 60, 60),
        ("1e9", 60, 60),
        ("1000000000", 86_400, 86_400),
        ("99999999999999999999999", 86_400, 86_400),
        ("٣", 60, 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400, 86_400),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 60, 60),
        ("in 10 minutes", 600, 600),
    ],
)
def test_5_retry_after_is_clamped_whatever_it_says(
    hooks: Any, behaviours: Any, header: str, least: int, most: int
) -> None:
    if header == "in 10 minutes":
        header = format_datetime(hooks.clock() + timedelta(minutes=10), usegmt=True)
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.raw(f"HTTP/1.1 429 x\r\nContent-Length: 0\r\nRetry-After: {header}\r\n\r\n".encode()))
    hooks.tell(hooks.subscribe(endpoint.url))
    hooks.deliver()
    assert hooks.attempts()[0]["status"] == 429
    assert least <= wait(hooks, after=hooks.clock()).total_seconds() <= most


# -- 6 to 10: ways into the operator's network ----------------------------------------------------------------------


def test_6_a_redirect_is_a_failure_and_nothing_follows_it(hooks: Any, behaviours: Any) -> None:
    endpoint, inside = hooks.endpoint(), hooks.endpoint()
    looked_up: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    for location in ("http://169.254.169.254/latest/meta-data/", inside.url):
        endpoint.behave(behaviours.answer(302, Location=location))
        hooks.tell(hooks.subscribe(endpoint.url))
        hooks.deliver(dispatch=hooks.with_(resolve=resolve))
    assert [(row["outcome"], row["status"]) for row in hooks.attempts()] == [("failed", 302)] * 2
    assert (len(endpoint.requests), len(inside.requests), set(looked_up)) == (2, 0, {"127.0.0.1"})


def test_7_a_name_that_changes_its_mind_between_look_ups_is_blocked(hooks: Any) -> None:
    inside = hooks.endpoint()
    answers = iter(["93.184.215.14", "127.0.0.1"])
    url = inside.url.replace("127.0.0.1", "rebinding.example")
    client.examine(url, ANY_PORT, look_up=lambda *_: [next(answers)])
    looked_up: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return [next(answers)]

    hooks.tell(hooks.subscribe(url))
    hooks.deliver(dispatch=hooks.with_(policy=ANY_PORT, resolve=resolve))
    assert hooks.delivery()["last_error"] == "refused_address"
    assert (inside.connections, looked_up) == (0, ["rebinding.example"]), "one look-up, and no connection"


@pytest.mark.parametrize("others", [["93.184.215.14", "127.0.0.1"], ["2606:2800:21f:cb07::1", "fd00::1"]])
def test_8_a_host_with_one_private_address_is_blocked_as_a_whole(hooks: Any, others: list[str]) -> None:
    inside = hooks.endpoint()
    url = inside.url.replace("127.0.0.1", "mixed.example")
    with pytest.raises(Refused, match="not public"):
        client.examine(url, ANY_PORT, look_up=lambda *_: others)

    async def resolve(host: str, port: int) -> list[str]:
        return others

    hooks.tell(hooks.subscribe(url))
    hooks.deliver(dispatch=hooks.with_(policy=ANY_PORT, resolve=resolve))
    assert hooks.delivery()["last_error"] == "refused_address"
    assert inside.connections == 0


OFF_LIMITS = [
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:7f00:1::]/",
    "https://[::1]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://168.63.129.16/",
    "https://169.254.169.254/",
    "https://192.0.0.192/",
    "https://224.0.0.1/",
    "https://example.com./",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://user@93.184.215.14/",
    "https://user:word@93.184.215.14/",
    "https://93.184.215.14:22/",
    "https://93.184.215.14:8443/",
    "http://93.184.215.14/",
    "ftp://93.184.215.14/",
    "https:///path",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\n.example.com/",
    "https://[::1/",
    "https://example.com:99999/",
    "not a url",
    "https://" + "a" * 2048 + ".example/",
]


@pytest.mark.parametrize("url", OFF_LIMITS)
def test_9_off_limits_at_registration_and_at_the_connection(hooks: Any, url: str) -> None:
    looked_up: list[str] = []
    with pytest.raises(Refused):
        client.examine(url, STRICT, look_up=lambda *host: looked_up.append(str(host)) or ["93.184.215.14"])

    async def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["93.184.215.14"]

    hooks.tell(hooks.subscribe(url))
    hooks.deliver(dispatch=hooks.with_(policy=STRICT, resolve=resolve))
    [attempt] = hooks.attempts()
    assert attempt["error"].startswith("refused_")
    assert looked_up == []


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_10_no_proxy_is_taken_from_the_environment(hooks: Any, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    proxy, endpoint = hooks.endpoint(), hooks.endpoint()
    monkeypatch.setenv(variable, proxy.url.removesuffix("/hook"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    hooks.tell(hooks.subscribe(endpoint.url))
    assert hooks.deliver().delivered == 1
    assert (len(endpoint.requests), proxy.connections) == (1, 0)


# -- 11 to 14: endpoints that take and take -------------------------------------------------------------------------

DRIPS = {
    "headers": [b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"],
    "body": [b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x"],
    "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"],
    "informational": [b"HTTP/1.1 100 Continue\r\n\r\n"],
}


@pytest.mark.parametrize("what", DRIPS)
def test_11_a_slow_drip_is_cut_at_the_deadline(hooks: Any, behaviours: Any, what: str) -> None:
    """A timeout for each read is no limit: there is always another byte in time."""
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.raw(*DRIPS[what], pause=0.1, forever=True))
    hooks.tell(hooks.subscribe(endpoint.url))
    began = time.monotonic()
    hooks.deliver(dispatch=hooks.with_(limits=Limits(total=timedelta(seconds=1))))
    assert time.monotonic() - began < 4
    [attempt] = hooks.attempts()
    assert (attempt["outcome"], attempt["error"]) == ("failed", "timeout")
    assert 950 <= attempt["milliseconds"] < 3000


def test_11_the_deadline_is_15_seconds_unless_told_otherwise() -> None:
    assert Limits().total == timedelta(seconds=15)
    assert Limits().connect == timedelta(seconds=5)


def test_12_an_endless_answer_is_read_to_16_kib_and_2_are_kept(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    sent: list[int] = []

    async def endless(_: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 524288000\r\n\r\n")
        while True:
            writer.write(b"y" * 65_536)
            sent.append(65_536)
            await writer.drain()

    endpoint.behave(endless)
    hooks.tell(hooks.subscribe(endpoint.url))
    assert hooks.deliver().delivered == 1
    assert sum(sent) < 16 * 1024 * 1024, "the connection was closed; the rest is what sockets buffer"
    assert hooks.attempts()[0]["excerpt"] == "y" * 2048


def test_12_a_compressed_answer_is_not_decompressed(hooks: Any, behaviours: Any) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(500, bomb, Content_Encoding="gzip"))
    hooks.tell(hooks.subscribe(endpoint.url))
    hooks.deliver()
    assert endpoint.requests[0].headers["accept-encoding"] == "identity"
    assert len(hooks.attempts()[0]["excerpt"]) <= 2048


def test_12_a_header_of_a_megabyte_is_a_protocol_error(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"))
    hooks.tell(hooks.subscribe(endpoint.url))
    hooks.deliver()
    assert hooks.delivery()["last_error"] == "protocol"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        (b"HTTP/1.1 99999 what\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "protocol"),
        (b"\x00\xff" * 50, "protocol"),
    ],
    ids=["empty", "ssh", "status", "short", "binary"],
)
def test_12_an_answer_that_is_none_is_a_failed_attempt(hooks: Any, behaviours: Any, answer: bytes, error: str) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.raw(answer))
    hooks.tell(hooks.subscribe(endpoint.url))
    assert hooks.deliver().failed == 1
    assert hooks.delivery()["last_error"] == error


def test_12_control_characters_of_an_answer_are_not_kept(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(500, b"no\x00\x1b[31m \xff\xfe caf\xc3\xa9\n"))
    hooks.tell(hooks.subscribe(endpoint.url))
    hooks.deliver()
    assert hooks.attempts()[0]["excerpt"] == "no[31m  café\n"


def test_14_a_hung_endpoint_does_not_hold_up_a_thousand_others(hooks: Any, behaviours: Any) -> None:
    hung, healthy = hooks.endpoint(), hooks.endpoint()
    hung.behave(behaviours.hang)
    hooks.tell(hooks.subscribe(hung.url), 200)
    for number in range(50):
        hooks.tell(hooks.subscribe(f"{healthy.url}{number}"), 20)
    dispatch = hooks.with_(slots=64)
    thread = threading.Thread(target=hooks.deliver, kwargs={"dispatch": dispatch, "stop": (stop := threading.Event())})
    thread.start()
    try:
        healthy.wait_for(1000, timeout=14)
        assert 1 <= len(hung.requests) <= 4, "it is still being waited for"
    finally:
        hung.close()
        stop.set()
        thread.join(20)
    waited = sorted(row["milliseconds"] for row in hooks.attempts() if row["outcome"] == "delivered")
    assert len(waited) == 1000
    assert waited[949] < 2000


# -- 16 to 20 ------------------------------------------------------------------------------------------------------


def signed_by(secret: str, request: Any) -> bool:
    """Whether the Standard Webhooks library accepts it, whatever the time is."""
    own = Webhook(secret)
    stamp = int(request.headers["webhook-timestamp"])
    expected = own.sign(request.id, datetime.fromtimestamp(stamp, UTC), request.body.decode())
    return expected in request.headers["webhook-signature"].split(" ")


def attendee_signed_by(secret: str, request: Any) -> bool:
    digest = hmac.new(base64.b64decode(secret), request.body, hashlib.sha256).digest()
    return request.headers["x-webhook-signature"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize("own", [True, False], ids=["own", "of the project"])
def test_16_a_secret_replaced_between_attempts_leaves_both_good_until_the_overlap_ends(
    hooks: Any, behaviours: Any, own: bool
) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(500), behaviours.answer(500), behaviours.answer(200))
    subscription = hooks.subscribe(endpoint.url)
    hooks.tell(subscription)
    hooks.deliver()
    overlap = timedelta(minutes=1)
    with hooks.db.begin() as connection:
        if own:
            new = subscriptions.rotate(
                connection, hooks.keyring, hooks.project, subscription, now=hooks.clock(), overlap=overlap
            )
        else:
            new = projects.set_webhook_secret(
                connection, hooks.keyring, hooks.project, now=hooks.clock(), overlap=overlap
            )
    hooks.wait_out()
    hooks.deliver()
    hooks.clock.pass_by(minutes=2)
    hooks.deliver()
    first, during, after = endpoint.requests
    assert [signed_by(hooks.secret, one) for one in (first, during, after)] == [True, True, False]
    assert [signed_by(new, one) for one in (first, during, after)] == [False, True, True]
    assert [attendee_signed_by(hooks.secret, one) for one in (first, during)] == [True, True]
    assert attendee_signed_by(new, after)


def test_18_a_clock_set_back_an_hour_delays_and_stops_nothing(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(500), behaviours.answer(200))
    subscription = hooks.subscribe(endpoint.url)
    hooks.tell(subscription)
    hooks.deliver()
    hooks.clock.pass_by(hours=-1)
    assert hooks.deliver().claimed == 0
    hooks.clock.pass_by(hours=1, seconds=10)
    assert hooks.deliver().delivered == 1
    # A lease does not know that clock at all: what a dead worker left is free when the database says so.
    hooks.tell(subscription)
    hooks.execute(
        "UPDATE webhook_delivery SET lease_token = gen_random_uuid(), "
        "lease_until = clock_timestamp() + interval '1 minute' WHERE status = 'pending'"
    )
    assert hooks.deliver().claimed == 0
    hooks.execute("UPDATE webhook_delivery SET lease_until = clock_timestamp() WHERE status = 'pending'")
    assert hooks.deliver().delivered == 1


def test_19_an_endpoint_deleted_in_flight_is_not_asked_again(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    subscription = hooks.subscribe(endpoint.url)

    async def delete(request: Any, writer: Any) -> None:
        with hooks.db.begin() as connection:
            subscriptions.delete(connection, hooks.project, subscription)
        await behaviours.answer(500)(request, writer)

    endpoint.behave(delete)
    hooks.tell(subscription)
    assert hooks.deliver().failed == 1
    hooks.clock.pass_by(days=5)
    assert hooks.deliver().claimed == 0
    assert (len(endpoint.requests), hooks.deliveries(), hooks.attempts()) == (1, [], [])


def test_20_with_ordering_later_ones_of_a_calendar_wait_for_the_first_and_other_calendars_do_not(
    hooks: Any, behaviours: Any
) -> None:
    endpoint = hooks.endpoint()
    subscription = hooks.subscribe(endpoint.url, ordering="calendar")
    first = hooks.tell(subscription, 5, calendar="cal_1")

    async def refuse_the_first(request: Any, writer: Any) -> None:
        known = [one.id for one in endpoint.requests[:-1]]
        status = 500 if request.id == first[0] and first[0] not in known else 200
        await behaviours.answer(status)(request, writer)

    endpoint.behave(refuse_the_first)
    other = hooks.tell(subscription, 2, calendar="cal_2")
    hooks.deliver()
    assert [one.id for one in endpoint.requests if one.id in first] == first[:1]
    assert [one.id for one in endpoint.requests if one.id in other] == other
    hooks.wait_out()
    hooks.deliver()
    assert [one.id for one in endpoint.requests if one.id in first] == [first[0], *first]


def test_20_after_its_last_attempt_a_message_makes_way(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(*[behaviours.answer(500)] * 13, behaviours.answer(200))
    messages = hooks.tell(hooks.subscribe(endpoint.url, ordering="calendar"), 2)
    began = hooks.clock()
    for _ in range(12):
        hooks.deliver()
        hooks.wait_out()
    assert timedelta(days=3.3) < hooks.clock() - began < timedelta(days=5)
    hooks.deliver()
    assert [row["status"] for row in hooks.deliveries()] == ["dead", "delivered"]
    assert [one.id for one in endpoint.requests] == [messages[0]] * 13 + [messages[1]]


def test_an_endpoint_that_only_fails_for_five_days_is_given_up_and_what_is_due_is_held(
    hooks: Any, behaviours: Any
) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(503))
    subscription = hooks.subscribe(endpoint.url)
    hooks.tell(subscription)
    disabled = 0
    for _ in range(8):
        disabled += hooks.deliver().disabled
        hooks.clock.pass_by(days=1)
        hooks.tell(subscription)
    row = hooks.subscription(subscription)
    assert disabled == 1
    assert (row["disabled_reason"], row["failures"] >= 10) == ("failing", True)
    before = len(endpoint.requests)
    hooks.clock.pass_by(days=1)
    hooks.deliver()
    assert len(endpoint.requests) == before


def test_a_silent_endpoint_is_only_probed(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.reset)
    hooks.tell(hooks.subscribe(endpoint.url), 100)
    hooks.deliver()
    assert 5 <= len(endpoint.requests) <= 8
    before = len(endpoint.requests)
    hooks.wait_out()
    hooks.deliver()
    assert len(endpoint.requests) == before + 1


def test_an_endpoint_has_no_more_requests_at_once_than_it_may(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()

    async def slow(request: Any, writer: Any) -> None:
        await asyncio.sleep(0.02)
        await behaviours.answer(200)(request, writer)

    endpoint.behave(slow)
    hooks.tell(hooks.subscribe(endpoint.url, concurrency=3), 60)
    assert hooks.deliver().delivered == 60
    assert endpoint.most_at_once == 3


def test_three_equal_refusals_skip_the_quick_attempts(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(404))
    hooks.tell(hooks.subscribe(endpoint.url))
    waits = []
    for _ in range(4):
        hooks.deliver()
        waits.append(wait(hooks, after=hooks.clock()))
        hooks.wait_out()
    assert waits[0] < timedelta(seconds=7)
    assert waits[1] < timedelta(seconds=37)
    assert timedelta(hours=1.5) < waits[2] < timedelta(hours=2.5)
    assert timedelta(hours=1.5) < waits[3] < timedelta(hours=2.5)


def test_without_a_secret_nothing_is_sent_and_no_attempt_is_spent(hooks: Any) -> None:
    endpoint = hooks.endpoint()
    hooks.execute("DELETE FROM webhook_secret")
    hooks.tell(hooks.subscribe(endpoint.url))
    hooks.deliver()
    row = hooks.delivery()
    assert (row["status"], row["attempts"], row["last_error"], endpoint.requests) == ("pending", 0, "no_secret", [])
    assert row["next_attempt_at"] == hooks.clock() + timedelta(minutes=5)


def test_30_a_delivery_that_kills_its_workers_comes_to_an_end_and_the_others_go_on(hooks: Any) -> None:
    endpoint = hooks.endpoint()
    subscription = hooks.subscribe(endpoint.url, ordering="calendar")
    hooks.tell(subscription)
    hooks.execute("UPDATE webhook_delivery SET lost = 51")
    [after] = hooks.tell(subscription)
    hooks.deliver()
    hooks.deliver()
    poison, next_one = hooks.deliveries()
    assert (poison["status"], poison["last_error"]) == ("dead", "worker_lost")
    assert (next_one["id"], next_one["status"], len(endpoint.requests)) == (after, "delivered", 1)


def test_a_healthy_batch_costs_less_than_a_statement_for_each_delivery(hooks: Any) -> None:
    endpoint = hooks.endpoint()
    hooks.tell(hooks.subscribe(endpoint.url), 200)
    before = hooks.db.statements
    assert hooks.deliver().delivered == 200
    assert hooks.db.statements - before < 200


def test_loopback_and_http_are_refused_unless_the_operator_says_so() -> None:
    for url in ("http://127.0.0.1:8000/", "https://127.0.0.1/", "https://localhost/"):
        with pytest.raises(Refused):
            client.examine(url, STRICT)
    client.examine("http://127.0.0.1:8000/", Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None))


def test_a_host_without_an_address_is_a_failed_attempt_and_no_registration(hooks: Any) -> None:
    with pytest.raises(Refused, match="has no address"):
        client.examine("https://nowhere.invalid/", STRICT)
    hooks.tell(hooks.subscribe("https://nowhere.invalid/"))
    hooks.deliver()
    assert hooks.delivery()["last_error"] in ("dns", "timeout")


def test_the_body_is_json_and_the_headers_are_those_of_the_contract(hooks: Any) -> None:
    endpoint = hooks.endpoint()
    hooks.tell(hooks.subscribe(endpoint.url), text="é🎉")
    hooks.deliver()
    [request] = endpoint.requests
    assert (request.method, request.headers["content-type"], request.headers["user-agent"]) == (
        "POST",
        "application/json",
        "Attendee-Webhook/1.0",
    )
    assert json.loads(request.body)["text"] == "é🎉"
    assert attendee_signed_by(hooks.secret, request)
    assert signed_by(hooks.secret, request)
