"""Calendar API requests by google-api-python-client.

The service object is built once per process (it is large and slow to build); each call brings the process's
pooled transport with the caller's token, since httplib2 is not thread-safe.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from calendar_pipeline.providers.port import Grant, Meter
from calendar_pipeline.providers.transport import Transport


def events(api_base_url: str) -> Any:
    """The ``events`` resource."""
    return _resources(api_base_url)[0]


def channels(api_base_url: str) -> Any:
    """The ``channels`` resource."""
    return _resources(api_base_url)[1]


@lru_cache(maxsize=4)
def _resources(api_base_url: str) -> tuple[Any, Any]:
    """Resources of a service built from the bundled discovery document. Each look-up on it costs milliseconds."""
    import httplib2
    from googleapiclient.discovery import build

    service = build(
        "calendar",
        "v3",
        http=httplib2.Http(),
        static_discovery=True,
        cache_discovery=False,
        client_options={"api_endpoint": f"{api_base_url}/calendar/v3/"},
    )
    return service.events(), service.channels()


class Authorized:
    """What googleapiclient calls an http object: our transport with one caller's token."""

    def __init__(self, transport: Transport, grant: Grant, meter: Meter) -> None:
        self._transport = transport
        self._grant = grant
        self._meter = meter

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> tuple[Any, bytes]:
        """One HTTP exchange in httplib2's words."""
        import httplib2

        sent = {**(headers or {}), "authorization": f"Bearer {self._grant.access_token}"}
        with self._meter.turn():
            answer = self._transport.request(method, uri, headers=sent, body=body)
        self._meter.count(len(answer.body))
        response = httplib2.Response({**answer.headers, "status": str(answer.status)})
        response.reason = answer.reason
        return response, answer.body
