"""The providers of this installation, made from its settings."""

from collections.abc import Callable, Mapping
from datetime import datetime

from calendar_pipeline.event import Platform
from calendar_pipeline.providers.consent import ConsentProvider
from calendar_pipeline.providers.google.client import GoogleCalendar
from calendar_pipeline.providers.google.consent import GoogleConsent
from calendar_pipeline.providers.google.watch import GooglePush
from calendar_pipeline.providers.microsoft.client import MicrosoftCalendar
from calendar_pipeline.providers.microsoft.consent import MicrosoftConsent
from calendar_pipeline.providers.microsoft.oauth import Entra, calendar_scope
from calendar_pipeline.providers.microsoft.subscriptions import MicrosoftPush
from calendar_pipeline.providers.port import CalendarProvider
from calendar_pipeline.providers.push import PushProvider
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.settings import Settings


def providers(settings: Settings, *, clock: Callable[[], datetime]) -> Mapping[Platform, CalendarProvider]:
    """One client per platform over one connection pool."""
    transport = Transport(timeout=settings.provider_timeout_seconds)
    return {
        "google": GoogleCalendar(
            transport,
            api_base_url=settings.google_api_base_url,
            token_url=settings.google_token_url,
            clock=clock,
            meeting_hosts=settings.extra_meeting_hosts,
        ),
        "microsoft": MicrosoftCalendar(
            transport,
            Entra(
                transport,
                login_base_url=settings.microsoft_login_base_url,
                tenant=settings.microsoft_tenant,
                scope=calendar_scope(settings.microsoft_graph_base_url),
                clock=clock,
            ),
            graph_base_url=settings.microsoft_graph_base_url,
            clock=clock,
            meeting_hosts=settings.extra_meeting_hosts,
        ),
    }


def consents(settings: Settings, transport: Transport) -> Mapping[Platform, ConsentProvider]:
    """The providers' sides of hosted connect."""
    return {
        "google": GoogleConsent(
            transport,
            authorize_url=settings.google_authorize_url,
            token_url=settings.google_token_url,
            api_base_url=settings.google_api_base_url,
        ),
        "microsoft": MicrosoftConsent(
            transport,
            login_base_url=settings.microsoft_login_base_url,
            tenant=settings.microsoft_tenant,
            graph_base_url=settings.microsoft_graph_base_url,
        ),
    }


def push(settings: Settings, *, clock: Callable[[], datetime]) -> Mapping[Platform, PushProvider]:
    """Whoever tells us of changes, one per platform over one connection pool."""
    transport = Transport(timeout=settings.provider_timeout_seconds)
    return {
        "google": GooglePush(transport, api_base_url=settings.google_api_base_url, clock=clock),
        "microsoft": MicrosoftPush(transport, graph_base_url=settings.microsoft_graph_base_url, clock=clock),
    }
