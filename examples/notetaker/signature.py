"""Whether a webhook is from Calendar Pipeline: the signature over the bytes as they came."""

import base64
import binascii
import hashlib
import hmac


def is_good(secret: bytes, body: bytes, given: str | None) -> bool:
    """Whether `given` (the header ``X-Webhook-Signature``) is the secret's signature of `body`."""
    expected = hmac.digest(secret, body, hashlib.sha256)
    try:
        return hmac.compare_digest(expected, base64.b64decode(given or "", validate=True))
    except (binascii.Error, ValueError):
        return False
