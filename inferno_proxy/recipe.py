"""What is published of the settings in force: how routes are planned, and what resources are built from besides."""

from __future__ import annotations

from inferno_proxy.fleet import Address
from inferno_proxy.identity.membership import Membership
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.resources import ResourceSettings
from inferno_proxy.resources.settings import ServerTls
from inferno_proxy.routing.traffic_settings import traffic_table
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime.identity.caller import Door


def recipe_of(
    settings: ProxySettings,
    listen: Address,
    layout: Layout,
    governator: Address | str | None,
    member: Membership | None,
) -> Recipe:
    """What follows from the settings in force; ``member`` is who this proxy is in its mesh."""
    traffic = traffic_table(settings.models)
    return Recipe(
        settings.routing,
        ResourceSettings(
            control_grpc=str(layout.control_grpc),
            control_http=str(layout.control_http),
            listen=listen,
            governator=governator,
            message_limit=settings.message_limit,
            healing=settings.healing,
            rate_limits=traffic.limits_rates,
            size_limits=traffic.limits_sizes,
            rate_limit_service=settings.rate_limits_at,
            aliases=bool(settings.aliases),
            priority_header=settings.priority_header.lower(),
            access_log=settings.access_log_file,
            traces=settings.traces,
            door=Door.PUBLIC if settings.authenticates else Door.OPEN,
            tls=_tls(settings, layout),
            mesh=settings.mesh,
            asked_for=settings.asked_for,
            trusted=settings.trusted,
            identity=member.folder.path if member else None,
            trust_domain=member.domain if member else "",
            clients=settings.callers,
            tokens=settings.tokens,
        ),
    )


def _tls(settings: ProxySettings, layout: Layout) -> ServerTls | None:
    if settings.tls_certificate is None:
        return None
    asked = settings.client_ca is not None
    # Where clients have other credentials too, a filter refuses who has none.
    return ServerTls(layout.served, clients=asked, required=asked and not settings.has_credentials)
