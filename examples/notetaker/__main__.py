"""``python -m examples.notetaker``: Notetaker on its own; see README.md for the variables."""

from urllib.parse import urlsplit

from examples.notetaker.app import create_app
from examples.notetaker.serve import Server
from examples.notetaker.settings import Settings


def main() -> None:
    """Serve until stopped."""
    try:
        settings = Settings.load()
    except (KeyError, ValueError) as wrong:
        raise SystemExit(f"Notetaker does not start: {wrong} is missing or wrong; its README lists them.") from None
    at = urlsplit(settings.base_url)
    Server(create_app(settings), host=at.hostname or "127.0.0.1", port=at.port or 8100).run()


main()
