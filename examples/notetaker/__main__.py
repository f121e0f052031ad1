"""``python -m examples.notetaker``: Notetaker on its own; see README.md for the variables."""

from urllib.parse import urlsplit

from examples.notetaker.app import create_app
from examples.notetaker.serve import Server
from examples.notetaker.settings import Settings


def main() -> None:
    """Serve until stopped."""
    settings = Settings.load()
    at = urlsplit(settings.base_url)
    Server(create_app(settings), host=at.hostname or "127.0.0.1", port=at.port or 8100).run()


main()
