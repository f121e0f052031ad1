"""Whom a request without a good key is counted with."""

import pytest

from api.limits import neighbourhood


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("-", "-"),
    ],
)
def test_an_address_is_counted_by_itself_and_of_ipv6_its_network_is(host: str, counted: str) -> None:
    assert neighbourhood(host) == counted
