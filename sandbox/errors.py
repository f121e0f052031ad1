"""What the sandbox says to a person who asks in vain; providers' own errors are in their folders.

Unusable     a person asked the sandbox for something it cannot do: the message says what to do instead
 └ Missing   no such calendar, event, account …
"""


class Unusable(ValueError):
    """The sandbox cannot do that; the message is for a person and says what would work."""


class Missing(Unusable):
    """There is no such thing in the sandbox."""
