"""A receiver of webhooks, as an application has one: it verifies what arrives, and keeps the last ones to be looked at.

Both families of signatures have to hold, over the bytes as they came. It knows only secrets that it was told; what
arrives without one is taken and marked so.
"""

import base64
import binascii
import hashlib
import hmac
from collections import deque
from collections.abc import Mapping
from datetime import datetime

from sandbox.errors import Unusable
from sandbox.ground import Ground, locked
from sandbox.replies import Arrived

KEPT = 100
"""Deliveries of one name."""
_TOLERANCE_S = 300
_RECEIVED, _REFUSED = 204, 401


class Webhooks(Ground):
    """Receivers by name, each with a secret of its own."""

    @locked
    def expect_webhooks(self, name: str, secret: str) -> None:
        """Verify what arrives at `name` with this secret from now on; raises `Unusable` if it cannot be one."""
        _key(secret)
        self.changes += 1
        self.state.webhook_secrets[name] = secret

    @locked
    def expects_webhooks(self, name: str) -> bool:
        """Whether a secret is known for `name`."""
        return name in self.state.webhook_secrets

    @locked
    def take_webhook(self, name: str, headers: Mapping[str, str], body: bytes) -> int:
        """Verify and keep a delivery; the status that its sender is answered. Names in `headers` are in lower case."""
        secret = self.state.webhook_secrets.get(name)
        at = self._clock()  # not the sandbox's time, which may stand elsewhere: signatures carry the real one
        wrong = _wrong(headers, body, _key(secret), at) if secret is not None else ""
        verdict = f"refused: {wrong}" if wrong else "not verified" if secret is None else "verified"
        kept = self.webhooks_by_name.setdefault(name, deque(maxlen=KEPT))
        self.webhooks_taken += 1
        message = headers.get("webhook-id", "")
        again = any(one.message == message and one.verdict == verdict for one in kept)
        text = body.decode("utf-8", "replace")
        kept.append(Arrived(self.webhooks_taken, name, at, message, verdict, again, dict(headers), text))
        return _REFUSED if wrong else _RECEIVED

    @locked
    def webhooks(self, name: str | None = None, *, last: int = 20, after: int = 0) -> list[Arrived]:
        """The last deliveries, oldest first, at one name or at all; with `after` those that came later than it."""
        kept = [one for held, row in self.webhooks_by_name.items() if name in (None, held) for one in row]
        return sorted((one for one in kept if one.number > after), key=lambda one: one.number)[-last:]

    @locked
    def clear_webhooks(self, name: str | None = None) -> int:
        """Forget what arrived at one name, or at all; how many that were."""
        names = [held for held in self.webhooks_by_name if name in (None, held)]
        return sum(len(self.webhooks_by_name.pop(held)) for held in names)


def _wrong(headers: Mapping[str, str], body: bytes, key: bytes, at: datetime) -> str:
    """What is wrong with a delivery's signatures; empty if nothing is."""
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdecimal():
        return "no webhook-timestamp"
    if abs(at.timestamp() - int(timestamp)) > _TOLERANCE_S:
        return "webhook-timestamp is too far from now"
    signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
    given = headers.get("webhook-signature", "").split(" ")
    if not any(_equal(f"v1,{_signature(key, signed)}", one) for one in given):
        return "webhook-signature"
    if not _equal(_signature(key, body), headers.get("x-webhook-signature", "")):
        return "X-Webhook-Signature"
    return ""


def _signature(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()


def _equal(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "replace"))


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        message = "A webhook's secret is base64, with or without whsec_ in front."
        raise Unusable(message) from None
