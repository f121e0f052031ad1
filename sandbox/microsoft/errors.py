"""Microsoft's words for what goes wrong.

GraphError   an answer of Microsoft Graph (`error.code`, `error.message`, `innerError`)
EntraError   an answer of the token endpoint (AADSTS codes)
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any


class GraphError(Exception):
    """An error answer of Graph."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.inner = status, code, message, inner
        self.headers = dict(headers or {})

    def body(self, now: datetime, request_id: str) -> dict[str, Any]:
        """The body; an inner code nests one deeper, as it does in the wild."""
        inner: dict[str, Any] = {
            "date": f"{now:%Y-%m-%dT%H:%M:%S}",
            "request-id": request_id,
            "client-request-id": request_id,
        }
        if self.inner is not None:
            inner = {"code": self.inner, "innererror": inner}
        return {"error": {"code": self.code, "message": self.message, "innerError": inner}}


class EntraError(Exception):
    """An error answer of the token endpoint."""

    def __init__(
        self,
        status: int,
        error: str,
        code: int | None,
        description: str,
        *,
        suberror: str | None = None,
        claims: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {error} {code}: {description}")
        self.status, self.error, self.code, self.description = status, error, code, description
        self.suberror, self.claims = suberror, claims
        self.headers = dict(headers or {})

    def body(self, now: datetime) -> dict[str, Any]:
        """The body, with the trailer that Entra puts below each description."""
        trace = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{now.isoformat()}/{self.code}"))
        at = f"{now:%Y-%m-%d %H:%M:%SZ}"
        text = f"AADSTS{self.code}: {self.description}" if self.code is not None else self.description
        shown: dict[str, Any] = {
            "error": self.error,
            "error_description": f"{text} Trace ID: {trace} Correlation ID: {trace} Timestamp: {at}",
            "error_codes": [self.code] if self.code is not None else [],
            "timestamp": at,
            "trace_id": trace,
            "correlation_id": trace,
        }
        if self.code is not None:
            shown["error_uri"] = f"https://login.microsoftonline.com/error?code={self.code}"
        if self.suberror is not None:
            shown["suberror"] = self.suberror
        if self.claims is not None:
            shown["claims"] = self.claims
        return shown


def item_not_found() -> GraphError:
    """404: gone, never there, or another's."""
    return GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")


def malformed_id() -> GraphError:
    """400: that is no id."""
    return GraphError(400, "ErrorInvalidIdMalformed", "Id is malformed.")


def bad_request(message: str, code: str = "BadRequest") -> GraphError:
    """400 about the query or the body."""
    return GraphError(400, code, message)


def invalid_token(message: str = "Lifetime validation failed, the token is expired.") -> GraphError:
    """401: no access token, an unknown one or an expired one."""
    realm = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"www-authenticate": realm})
