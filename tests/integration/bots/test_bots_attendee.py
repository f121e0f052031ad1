"""An Attendee-compatible server as the runner, over real HTTP: each bot there in time and exactly once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from calendar_pipeline.bots.port import Down, GivenBack, Kept, Order, Refused, Taken
from calendar_pipeline.bots.runners.attendee import AttendeeRunner
from calendar_pipeline.providers.transport import Transport

MEET = "https://meet.google.com/abc-defg-hij"


@pytest.fixture
def runner(attendee) -> AttendeeRunner:
    return AttendeeRunner(Transport(timeout=0.5), base_url=attendee.url, api_key="key")


def order(**changes) -> Order:
    given = {
        "bot_id": "bot_x",
        "key": "bot_x",
        "project_id": "proj_x",
        "name": "Notes",
        "meeting_url": MEET,
        "join_at": None,
        "metadata": {"a": "b"},
        "settings": {"zoom_settings": {"sdk": "web"}},
    }
    return Order(**(given | changes))


def test_what_the_server_is_sent(attendee, runner) -> None:
    assert runner.launch(order(webhooks=({"url": "https://x/y", "triggers": ["bot.state_change"]},))) == Taken(
        "bot_0000000000000000"
    )
    [bot] = attendee.bots.values()
    assert bot == {
        "id": "bot_0000000000000000",
        "state": "joining",
        "bot_name": "Notes",
        "meeting_url": MEET,
        "deduplication_key": "bot_x",
        "metadata": {"calendar_pipeline_bot_id": "bot_x"},
        "zoom_settings": {"sdk": "web"},
        "webhooks": [{"url": "https://x/y", "triggers": ["bot.state_change"]}],
    }
    assert attendee.headers[0]["Authorization"] == "Token key"


@pytest.mark.parametrize("fault", ["silence", "drop"])
def test_an_answer_that_is_lost_makes_no_second_bot(attendee, runner, fault) -> None:
    attendee.faults = [fault]
    assert isinstance(runner.launch(order()), Down)
    assert runner.launch(order(is_repeat=True)) == Taken("bot_0000000000000000")
    assert len(attendee.bots) == 1


def test_a_bot_that_came_and_went_meanwhile_is_not_sent_again(attendee, runner) -> None:
    """Its key is free again at the server then."""
    attendee.faults = ["drop"]
    runner.launch(order())
    attendee.bots["bot_0000000000000000"]["state"] = "ended"
    assert runner.launch(order(is_repeat=True)) == Taken("bot_0000000000000000")
    assert len(attendee.bots) == 1


def test_a_key_that_is_taken_unawares_is_ours(attendee, runner) -> None:
    """The worker died before it noted that it asked: the next one does not know that it repeats."""
    runner.launch(order())
    assert runner.launch(order()) == Taken("bot_0000000000000000")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("500", Down("http_500")),
        ("503", Down("http_503")),
        ("429", Down("http_429")),
        ("401", Refused("http_401")),
        ("402", Refused("http_402")),
        ("400", Refused("http_400")),
    ],
)
def test_refusals(attendee, runner, status, answer) -> None:
    attendee.faults = [status]
    assert runner.launch(order()) == answer
    assert not attendee.bots


@pytest.mark.parametrize("theirs", ["", "a\0b", "x" * 1000, 7, None])
def test_an_id_that_cannot_be_kept_is_no_answer(attendee, runner, theirs) -> None:
    """It failed when it was written, and with it all that was handed over beside."""
    attendee.bots["odd"] = {"id": theirs, "deduplication_key": "bot_x", "state": "joining"}
    assert runner.launch(order(is_repeat=True)) == Down("no_id")


def test_recalling(attendee, runner) -> None:
    assert runner.recall(order()) == GivenBack(), "nothing there to give back"
    runner.launch(order())
    attendee.bots["bot_0000000000000000"]["state"] = "scheduled"
    assert runner.recall(order()) == GivenBack()
    assert not attendee.bots
    runner.launch(order())
    assert runner.recall(order()) == GivenBack(), "on its way it is made to leave"
    assert attendee.bots["bot_0000000000000000"]["state"] == "ended"
    runner.launch(order(key="other"))
    attendee.faults = ["", "403"]
    assert runner.recall(order(key="other")) == Kept("http_403")
    attendee.faults = ["500"]
    assert runner.recall(order(key="other")) == Down("http_500")
    attendee.stop()
    assert isinstance(runner.recall(order()), Down)
    assert isinstance(runner.launch(order()), Down)
    attendee.start()


@pytest.mark.parametrize("state", ["leaving", "post_processing"])
def test_a_bot_that_leaves_already_is_as_good_as_given_back(attendee, runner, state) -> None:
    """It was made to leave, and the answer was lost: asked once more, the server refuses to make it leave again."""
    runner.launch(order())
    attendee.bots["bot_0000000000000000"]["state"] = state
    attendee.faults = ["", "400", "400"]
    assert runner.recall(order()) == GivenBack()


def test_through_faults_and_a_restart_each_bot_is_there_once(site, attendee) -> None:
    wired = replace(site.bots, runner=AttendeeRunner(Transport(timeout=0.5), base_url=attendee.url, api_key="k"))
    site.bots = wired
    made = [site.lone_bot(site.clock() + timedelta(minutes=1)) for _ in range(8)]
    site.work()
    attendee.faults = ["500", "drop", "silence", "500", "drop"]
    site.clock.pass_by(minutes=1)
    site.work()
    attendee.stop()
    site.clock.pass_by(seconds=10)
    site.work()
    attendee.start()
    for _ in range(4):
        site.clock.pass_by(seconds=20)
        site.work()
    assert [len(attendee.of(bot)) for bot in made] == [1] * 8
    assert {site.shown(bot).state for bot in made} == {"joining"}
    assert {site.row(bot).runner_bot_id for bot in made} == set(attendee.bots)
