"""Configurations that harm Envoy 1.40, made of real resources."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig
from envoy_data_plane.envoy.config.route.v3 import (
    ClusterSpecifierPlugin,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.matching.common_inputs.network.v3 import (
    DynamicMetadataInput,
    DynamicMetadataInputPathSegment,
)
from envoy_data_plane.envoy.extensions.matching.input_matchers.metadata.v3 import Metadata
from envoy_data_plane.envoy.extensions.router.cluster_specifiers.matcher.v3 import (
    ClusterAction,
    MatcherClusterSpecifier,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher, ValueMatcher
from envoy_data_plane.xds.core.v3 import TypedExtensionConfig as Extension
from envoy_data_plane.xds.type.matcher.v3 import (
    Matcher,
    MatcherMatcherList,
    MatcherMatcherListFieldMatcher,
    MatcherMatcherListPredicate,
    MatcherMatcherListPredicateSinglePredicate,
    MatcherOnMatch,
)

from inferno_proxy.publishing.snapshot import Resource, ResourceType, Snapshot
from inferno_proxy.resources.names import PUBLIC
from inferno_proxy.resources.packing import packed


def crashing(snapshot: Snapshot) -> Snapshot:
    """The snapshot with a route that crashes Envoy at the first request, though Envoy takes the configuration: a
    matcher cluster specifier that looks at dynamic metadata."""
    cluster = next(iter(snapshot.resources[ResourceType.CLUSTER]))
    action = MatcherOnMatch(action=Extension(name="go", typed_config=packed(ClusterAction(cluster=cluster))))
    looked_at = DynamicMetadataInput(filter="any", path=[DynamicMetadataInputPathSegment(key="key")])
    predicate = MatcherMatcherListPredicateSinglePredicate(
        input=Extension(name="metadata", typed_config=packed(looked_at)),
        custom_match=Extension(
            name="envoy.matching.matchers.metadata_matcher",
            typed_config=packed(Metadata(value=ValueMatcher(string_match=StringMatcher(exact="value")))),
        ),
    )
    field = MatcherMatcherListFieldMatcher(
        predicate=MatcherMatcherListPredicate(single_predicate=predicate), on_match=action
    )
    specifier = MatcherClusterSpecifier(
        cluster_matcher=Matcher(matcher_list=MatcherMatcherList(matchers=[field]), on_no_match=action)
    )
    plugin = ClusterSpecifierPlugin(extension=TypedExtensionConfig(name="pick", typed_config=packed(specifier)))
    route = Route(match=RouteMatch(prefix="/"), route=RouteAction(inline_cluster_specifier_plugin=plugin))
    routes = RouteConfiguration(name=PUBLIC, virtual_hosts=[VirtualHost(name=PUBLIC, domains=["*"], routes=[route])])
    return replace(
        snapshot,
        resources=MappingProxyType(
            {**snapshot.resources, ResourceType.ROUTE: {PUBLIC: Resource.of(PUBLIC, bytes(routes))}}
        ),
    )
