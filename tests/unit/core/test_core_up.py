"""What `up` lets webhooks do on a laptop, and what it does not let another `up` do."""

from pathlib import Path

import pytest

from calendar_pipeline import up
from calendar_pipeline.errors import SetupError
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import address

RECEIVERS = ("http://127.0.0.1:8090/_sandbox/webhooks/demo", "http://[::1]:9000/", "http://localhost:9000/")


def policy(settings: dict[str, str]) -> address.Policy:
    """The policy of a process that is started with these variables."""
    given = Settings(_env_file=None, **{name.lower(): value for name, value in settings.items()})  # pyright: ignore[reportArgumentType]
    return address.policy(
        http=given.webhook_allow_http, networks=given.webhook_allowed_networks, ports=given.webhook_ports
    )


def test_webhooks_go_to_this_machine_in_development() -> None:
    permitted = policy(up.receivers(Settings(_env_file=None)))
    assert [address.accept(url, permitted).secure for url in RECEIVERS] == [False] * 3


def test_networks_of_the_operators_own_stay_permitted_and_none_is_named_twice() -> None:
    given = Settings(_env_file=None, webhook_allowed_networks="10.1.0.0/16, 127.0.0.0/8")
    assert up.receivers(given)["WEBHOOK_ALLOWED_NETWORKS"] == "10.1.0.0/16,127.0.0.0/8,::1/128"


def test_production_permits_nothing_by_itself() -> None:
    assert up.receivers(Settings(_env_file=None, environment="production")) == {}


def test_a_second_up_with_the_same_state_is_refused(tmp_path: Path) -> None:
    """On other ports it would run beside the first one, over the same database and the same sandbox's file."""
    with up.alone(tmp_path):
        with pytest.raises(SetupError, match="stop it, or set another STATE_DIR"), up.alone(tmp_path):
            pass
        with up.alone(tmp_path / "another"):
            pass
    with up.alone(tmp_path):
        pass
