"""What Notetaker makes of answers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from examples.notetaker.pipeline import Pipeline


@pytest.fixture
def proxy() -> Iterator[str]:
    """The address of a proxy that has nobody behind it, and says so in words."""

    class Sorry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<p>Back soon.")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Sorry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_in_place_of_an_answer_is_trouble_that_passes(proxy: str) -> None:
    """It ended the thread that follows calendars: nothing was read any more, and nobody was told."""
    pipeline = Pipeline(proxy, "key")
    with pytest.raises(httpx.HTTPError):
        list(pipeline.events())
    with pytest.raises(httpx.HTTPError):
        pipeline.calendar("cal")
    pipeline.close()
