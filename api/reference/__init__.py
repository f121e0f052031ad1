"""The reference page: Swagger UI as published (swagger-ui-dist 5.35.0, Apache-2.0), and what starts it.

The two files of Swagger UI are unmodified copies; their licences stand beside them. Nothing is loaded from elsewhere.
"""

from functools import lru_cache
from importlib import resources

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the page and no other path: its own scripts and styles, pictures that stand in the style sheet, our API."""

FILES = {
    "index.html": "text/html",
    "start.js": "text/javascript",
    "reference.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "LICENSE": "text/plain",
}
"""What is served, and as what."""


@lru_cache(maxsize=len(FILES))
def read(name: str) -> bytes:
    """A file of `FILES`."""
    return resources.files("api.reference").joinpath(name).read_bytes()
