"""Public identifiers: a prefix and sixteen characters of ``[A-Za-z0-9]`` (95 bits), made by the application.

They are made before the row is written, because secrets are encrypted bound to the row's id.
"""

import random
import string
from typing import Literal

Prefix = Literal["cal", "chn", "evt", "bot", "proj", "key", "webhook", "msg", "app", "connect", "req", "ers"]

ALPHABET = string.ascii_letters + string.digits
LENGTH = 16

_system = random.SystemRandom()


def new(prefix: Prefix, *, rng: random.Random = _system) -> str:
    """A fresh id such as ``cal_4fJx0QmZ8sT2bW7k``; `rng` defaults to the operating system's randomness."""
    return f"{prefix}_{''.join(rng.choices(ALPHABET, k=LENGTH))}"
