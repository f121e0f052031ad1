"""Secrets at rest: a sealed value opens with its key, in its place, unaltered; else it is refused aloud."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.errors import CredentialUnreadable, SetupError
from calendar_pipeline.secrets.keyring import KeyRing, Place, generate, kid_of

HERE = Place(table="calendar", column="refresh_token", row="cal_1", project="proj_1")
OLD, NEW = b"o" * 32, b"n" * 32


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens_in_its_place(secret: str) -> None:
    ring = KeyRing({"a": OLD})
    assert ring.open(ring.seal(secret, HERE), HERE) == secret


def test_the_same_secret_sealed_twice_looks_different() -> None:
    ring = KeyRing({"a": OLD})
    assert ring.seal("s", HERE) != ring.seal("s", HERE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param(replace(HERE, row="cal_2"), id="other-row"),
        pytest.param(replace(HERE, column="client_secret"), id="other-column"),
        pytest.param(replace(HERE, project="proj_2"), id="other-project"),
        pytest.param(replace(HERE, table="webhook_secret"), id="other-table"),
        pytest.param(replace(HERE, column="refresh_tokenc", row="al_1"), id="fields-run-together"),
    ],
)
def test_a_value_copied_elsewhere_does_not_open(elsewhere: Place) -> None:
    ring = KeyRing({"a": OLD})
    with pytest.raises(CredentialUnreadable, match=f"{elsewhere.table}.{elsewhere.column}"):
        ring.open(ring.seal("s", HERE), elsewhere)


def test_no_bit_can_be_flipped_and_nothing_cut() -> None:
    ring = KeyRing({"a": OLD, "c": NEW})
    sealed = ring.seal("secret", HERE)
    flipped = [
        bytes(byte ^ (1 << bit) if index == at else byte for index, byte in enumerate(sealed))
        for at in range(len(sealed))
        for bit in range(8)
    ]
    for altered in [*flipped, *(sealed[:length] for length in range(len(sealed))), sealed + b"\0"]:
        with pytest.raises(CredentialUnreadable):
            ring.open(altered, HERE)


def test_a_value_does_not_open_under_another_keys_name() -> None:
    """Even if both names stand for the same key."""
    ring = KeyRing({"a": OLD, "b": OLD})
    sealed = ring.seal("secret", HERE)
    with pytest.raises(CredentialUnreadable):
        ring.open(sealed.replace(b"\x01a", b"\x01b", 1), HERE)


def test_without_its_key_a_value_is_unreadable_and_the_error_names_the_key() -> None:
    sealed = KeyRing({"2025": OLD}).seal("secret", HERE)
    with pytest.raises(CredentialUnreadable, match="'2025' in CALENDAR_PIPELINE_KEYS"):
        KeyRing({"2026": NEW}).open(sealed, HERE)


def test_after_a_rotation_old_values_open_and_new_ones_use_the_new_key() -> None:
    before = KeyRing({"old": OLD})
    after = KeyRing({"new": NEW, "old": OLD})
    assert after.open(before.seal("secret", HERE), HERE) == "secret"
    assert kid_of(after.seal("secret", HERE)) == after.active == "new"
    assert after.kids == {"new", "old"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(" , ", id="only-commas"),
        pytest.param(encoded(OLD), id="no-name"),
        pytest.param(f":{encoded(OLD)}", id="empty-name"),
        pytest.param("a:", id="no-key"),
        pytest.param("a:!!!!", id="not-base64"),
        pytest.param("a:schlüssel", id="not-ascii"),
        pytest.param(f"a:{encoded(b'k' * 31)}", id="31-bytes"),
        pytest.param(f"a:{encoded(b'k' * 33)}", id="33-bytes"),
        pytest.param(f"a:{encoded(OLD)},a:{encoded(NEW)}", id="name-twice"),
        pytest.param(f"{'x' * 256}:{encoded(OLD)}", id="name-too-long"),
    ],
)
def test_a_malformed_ring_is_refused_with_what_to_do_and_without_the_key(text: str) -> None:
    with pytest.raises(SetupError, match=r"CALENDAR_PIPELINE_KEYS .*kid:base64") as refused:
        KeyRing.parse(text)
    assert encoded(OLD) not in str(refused.value)


def test_a_ring_is_read_with_spaces_and_a_trailing_comma() -> None:
    ring = KeyRing.parse(f" new:{encoded(NEW)} , old:{encoded(OLD)}, ")
    assert (ring.active, ring.kids) == ("new", {"new", "old"})


def test_neither_repr_nor_str_shows_a_key() -> None:
    line = generate("a", random_bytes=lambda size: NEW[:size])
    ring = KeyRing.parse(line)
    for shown in (repr(ring), str(ring)):
        assert "a" in shown
        assert encoded(NEW) not in shown
        assert repr(NEW) not in shown


def test_generated_keys_differ_and_parse() -> None:
    one, two = generate("k"), generate("k")
    assert one != two
    assert KeyRing.parse(one).active == "k"


@pytest.mark.parametrize("kid", ["", "a,b", "a:b", "a b", "k" * 65])
def test_a_name_that_would_not_be_read_back_is_refused(kid: str) -> None:
    with pytest.raises(SetupError, match="Name the key"):
        generate(kid)


@pytest.mark.parametrize(
    "value",
    [b"", b"\x01", b"\x02\x01a" + bytes(40), b"\x01\xff" + bytes(20), b"\x01\x01\xff" + bytes(40)],
    ids=["empty", "short", "other-version", "name-longer-than-value", "name-not-utf8"],
)
def test_what_is_no_sealed_value_is_unreadable(value: bytes) -> None:
    with pytest.raises(CredentialUnreadable, match="not a sealed value"):
        KeyRing({"a": OLD}).open(value, HERE)
