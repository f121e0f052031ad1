"""Microsoft's failures: which there are, and what each answers."""

import base64
from collections.abc import Callable, Mapping

import msgspec

from sandbox.faults import SPOILS, Fault, Kinds
from sandbox.microsoft import errors
from sandbox.microsoft.errors import EntraError, GraphError


class Row(msgspec.Struct, frozen=True):
    """What the token endpoint says with an AADSTS code."""

    error: str
    description: str
    status: int = 400
    suberror: str | None = None


_GRANT, _MORE, _CLIENT = "invalid_grant", "interaction_required", "invalid_client"
_AWAY = "temporarily_unavailable"

AADSTS: Mapping[int, Row] = {
    50173: Row(_GRANT, "The provided grant has expired due to it being revoked.", suberror="bad_token"),
    700082: Row(_GRANT, "The refresh token has expired due to inactivity.", suberror="token_expired"),
    70008: Row(_GRANT, "The provided authorization code or refresh token has expired due to inactivity."),
    700084: Row(_GRANT, "The refresh token was issued to a single page app (SPA), with a fixed lifetime."),
    70043: Row(_GRANT, "The refresh token has expired or is invalid due to sign-in frequency checks."),
    70000: Row(_GRANT, "The value of the input parameter 'refresh_token' is not valid.", suberror="bad_token"),
    50089: Row(_GRANT, "Authentication failed due to flow token expired."),
    50132: Row(_GRANT, "The session is not valid due to password expiration or recent password change."),
    50133: Row(_GRANT, "Session is invalid due to expiration or recent password change."),
    50055: Row(_GRANT, "The password is expired.", suberror="user_password_expired"),
    50144: Row(_GRANT, "The user's Active Directory password has expired.", suberror="user_password_expired"),
    50057: Row(_GRANT, "The user account is disabled."),
    50034: Row(_GRANT, "The user account does not exist in the directory."),
    51004: Row(_GRANT, "The user account does not exist in the organization's directory."),
    16000: Row(_MORE, "The user account does not exist in tenant and can't access the application in that tenant."),
    50020: Row(_GRANT, "User account from identity provider does not exist in tenant."),
    90072: Row(_GRANT, "User account does not exist in tenant and cannot access the application in it."),
    65001: Row(_GRANT, "The user or administrator has not consented to the application.", suberror="consent_required"),
    65004: Row("access_denied", "User declined to consent to access the app."),
    90094: Row("consent_required", "The grant requires administrator permission."),
    50072: Row(_MORE, "The user needs to enroll in multi-factor authentication.", suberror="basic_action"),
    50074: Row(_MORE, "Strong authentication is required.", suberror="basic_action"),
    50076: Row(_GRANT, "You must use multi-factor authentication to access the resource.", suberror="basic_action"),
    50078: Row(_GRANT, "Presented multi-factor authentication has expired.", suberror="basic_action"),
    50079: Row(_MORE, "The user is required to use multi-factor authentication.", suberror="basic_action"),
    53000: Row(_GRANT, "Device is not in required device state.", suberror="message_only"),
    53001: Row(_GRANT, "Device is not in required device state: domain joined.", suberror="message_only"),
    53003: Row(_GRANT, "Access has been blocked by Conditional Access policies.", suberror="message_only"),
    530032: Row(_GRANT, "Access has been blocked by security policy.", suberror="message_only"),
    50131: Row(_GRANT, "Device is not in required device state or was blocked.", suberror="additional_action"),
    50105: Row(_GRANT, "The signed in user is not assigned to a role for the application."),
    700020: Row(_MORE, "Interaction is required."),
    500014: Row("invalid_resource", "The service principal for resource is disabled. The subscription has lapsed."),
    7000112: Row("unauthorized_client", "Application is disabled."),
    7000215: Row(_CLIENT, "Invalid client secret provided.", 401),
    7000222: Row(_CLIENT, "The provided client secret keys for app are expired.", 401),
    70002: Row(_CLIENT, "Error validating credentials.", 401),
    7000218: Row(_CLIENT, "The request body must contain 'client_assertion' or 'client_secret'.", 401),
    700027: Row(_CLIENT, "The certificate with identifier used to sign the client assertion is not registered.", 401),
    700016: Row("unauthorized_client", "Application with identifier was not found in the directory."),
    70001: Row("unauthorized_client", "The application named was not found in the tenant."),
    650052: Row("invalid_client", "The app needs access to a service that your organization has not subscribed to."),
    650056: Row("invalid_client", "Misconfigured application."),
    50194: Row("invalid_request", "Application is not configured as a multi-tenant application."),
    90002: Row("invalid_request", "Tenant not found."),
    50011: Row("invalid_request", "The reply URL specified in the request does not match."),
    54005: Row(_GRANT, "OAuth2 Authorization code was already redeemed."),
    50196: Row(_GRANT, "The server terminated an operation because it encountered a client request loop."),
    50033: Row(_AWAY, "A transient error has occurred. Please try again.", 503),
    50087: Row(_AWAY, "A transient error has occurred during single sign-out."),
    50166: Row("invalid_request", "Request to External OIDC endpoint failed."),
    70012: Row("server_error", "A server error occurred while authenticating an MSA user.", 500),
    90006: Row(_AWAY, "The service is temporarily unavailable. Please retry later.", 503),
    90012: Row("invalid_request", "The server timed out while processing the request."),
    90024: Row("invalid_request", "A transient error has occurred: the request budget was exceeded."),
    90033: Row(_AWAY, "A transient error has occurred. Please try again.", 503),
    90055: Row("invalid_request", "The server terminated an operation because too many requests were sent."),
    90090: Row(_AWAY, "Graph returned a transient error."),
}
"""providers.md §3.1; a passing condition may come with the name of another error."""

OTHER_TOKEN: Mapping[str, Row] = {
    "invalid_scope": Row("invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
    "invalid_request": Row("invalid_request", "The request is malformed."),
    "unsupported_grant_type": Row("unsupported_grant_type", "The app requested an unsupported grant type."),
    "login_required": Row("login_required", "The user must sign in again."),
    "token_too_many_requests": Row(_AWAY, "Too many requests.", 429),
}
_OTHER_CODES = {"invalid_scope": 70011, "invalid_request": 900144, "unsupported_grant_type": 70003}

CHALLENGE = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'
"""The claims that a challenge asks for."""


def _away(status: int, code: str, message: str) -> Callable[[], GraphError]:
    return lambda: GraphError(status, code, message)


def challenged() -> GraphError:
    """401 with a claims challenge (CAE): the token may be well, but the session must be looked at again."""
    claims = base64.b64encode(CHALLENGE.encode()).decode()
    header = (
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
        f'client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="{claims}"'
    )
    message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"www-authenticate": header})


_MAILBOX = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
_LOST = "The sync state generation is not found; generation=149;[highest=152]"

API: Mapping[str, Callable[[], GraphError]] = {
    "sync_state_not_found": _away(410, "SyncStateNotFound", _LOST),
    "sync_state_not_found_404": _away(404, "syncStateNotFound", _LOST),
    "sync_state_invalid": _away(400, "SyncStateInvalid", "The sync state is not valid."),
    "resync_required": lambda: GraphError(410, "Gone", "Resync required.", inner="resyncRequired"),
    "delta_bad_request": _away(400, "BadRequest", "The delta request is not valid."),
    "too_many_requests": _away(429, "TooManyRequests", "Too many requests."),
    "application_throttled": _away(429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
    "message_limit": _away(429, "ErrorExceededMessageLimit", "The message limit was exceeded."),
    "service_unavailable": _away(503, "ServiceUnavailable", "The service is temporarily unavailable."),
    "mailbox_info_stale": _away(503, "MailboxInfoStale", "Mailbox info is stale."),
    "server_busy": _away(503, "ErrorServerBusy", "The server is busy."),
    "server_error": _away(500, "ErrorInternalServerError", "An internal server error occurred. The operation failed."),
    "transient_error": _away(500, "ErrorInternalServerTransientError", "An internal server error occurred."),
    "gateway_timeout": _away(504, "UnknownError", ""),
    "bandwidth": _away(509, "BandwidthLimitExceeded", "The bandwidth limit was exceeded."),
    "locked": _away(423, "Locked", "The resource is locked."),
    "request_timeout": _away(408, "RequestTimeout", "The request timed out."),
    "invalid_authentication_token": errors.invalid_token,
    "claims_challenge": challenged,
    "access_denied": _away(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."),
    "access_denied_by_policy": _away(403, "AccessDenied", "Access to the resource is denied by policy."),
    "request_denied": _away(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
    "forbidden": _away(403, "Forbidden", "Forbidden."),
    "item_not_found": errors.item_not_found,
    "folder_not_found": _away(404, "ErrorFolderNotFound", "The specified folder could not be found in the store."),
    "resource_not_found": _away(404, "ResourceNotFound", "Resource could not be discovered."),
    "request_resource_not_found": _away(404, "Request_ResourceNotFound", "The resource does not exist."),
    "malformed_id": errors.malformed_id,
    "parse_error": _away(400, "RequestBroker--ParseUri", "Resource not found for the segment."),
    "bad_request": _away(400, "BadRequest", "The request is not valid."),
    "invalid_request_body": _away(400, "ErrorInvalidRequest", "The request is invalid."),
    "mailbox_not_enabled": _away(404, "MailboxNotEnabledForRESTAPI", _MAILBOX),
    "mailbox_not_supported": _away(404, "MailboxNotSupportedForRESTAPI", _MAILBOX),
    "mailbox_not_hosted": _away(404, "MailboxNotHostedInExchangeOnline", _MAILBOX),
    "conflict": _away(409, "ErrorIrresolvableConflict", "The send or update operation could not be performed."),
    "change_key_required": _away(412, "ErrorChangeKeyRequired", "The change key is required."),
    "subscription_validation_failed": _away(
        400,
        "ValidationError",
        "Subscription validation request failed. Must respond with 200 OK to this request.",
    ),
    "subscription_forbidden": _away(403, "ExtensionError", "Operation: Create; Exception: [Status Code: Forbidden]"),
    "subscription_conflict": _away(409, "Conflict", "A subscription for this resource exists already."),
    "subscription_not_found": _away(404, "ResourceNotFound", "The object was not found."),
}
"""Fault kinds of Graph that are an error answer (providers.md §3.4, §3.6, §3.7)."""

EFFECTS = (
    *SPOILS,
    *("html_unavailable", "empty_pages", "no_links", "no_refresh_token", "scope_missing"),
    *("notification_handshake_fails", "lifecycle_handshake_fails"),
)
"""Fault kinds that spoil a normal answer, on any endpoint."""

_DELTA = ("sync_state_not_found", "sync_state_not_found_404", "sync_state_invalid", "resync_required")

KINDS = Kinds(
    families={
        "token": [*(f"aadsts{code}" for code in AADSTS), *OTHER_TOKEN],
        "api": list(API),
        "any": EFFECTS,
    },
    home="calendarView*",
    at_home_elsewhere={
        **dict.fromkeys((*_DELTA, "delta_bad_request"), "calendarView.delta"),
        **dict.fromkeys(("subscription_validation_failed", "subscription_forbidden"), "subscriptions.create"),
        "subscription_conflict": "subscriptions.create",
        "subscription_not_found": "subscriptions.renew",
        "notification_handshake_fails": "subscriptions.create",
        "lifecycle_handshake_fails": "subscriptions.create",
        "no_refresh_token": "token",
        "scope_missing": "token",
    },
    only_with_token=(*_DELTA, "delta_bad_request"),
    aliases={"view": "calendarView", "delta": "calendarView.delta", "event": "events.get"},
)


def raised(fault: Fault) -> GraphError | EntraError | None:
    """The error answer of this fault; None if it spoils a normal answer instead."""
    after = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    if (make := API.get(fault.kind)) is not None:
        error = make()
        error.headers |= after
        return error
    number = fault.kind.removeprefix("aadsts")
    row = AADSTS.get(int(number)) if number.isdecimal() else OTHER_TOKEN.get(fault.kind)
    if row is None:
        return None
    code = int(number) if number.isdecimal() else _OTHER_CODES.get(fault.kind)
    text = fault.description or row.description
    return EntraError(row.status, row.error, code, text, suberror=row.suberror, headers=after)
