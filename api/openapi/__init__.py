"""The OpenAPI 3.1 document, a module for each group of paths. Pure.

Object schemas come from the very types that answers are encoded from; paths, parameters and errors are told by hand,
since that is what clients switch on. Tests hold it against the routes and against real answers.
"""

from api.openapi import bots, calendar_events, calendars, connect, parts, webhooks
from api.openapi.parts import Json
from calendar_pipeline.settings import Settings

DESCRIPTION = (
    "Followed calendars, their events, and bots that join them. Keys: `Authorization: Token <key>`. "
    "Instants are UTC with `Z`; fractions of a second are left out when zero."
)

GROUPS = (calendars, calendar_events, bots, webhooks, connect)


def document(settings: Settings, *, version: str, base: str) -> Json:
    """The whole document; limits are those of `settings`."""
    paths: Json = {}
    schemas: Json = {}
    for group in GROUPS:
        paths |= group.paths(base)
        schemas |= group.schemas(settings)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Calendar Pipeline", "version": version, "description": DESCRIPTION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token <key>`",
                }
            },
            "schemas": schemas | parts.refusals(),
        },
    }
