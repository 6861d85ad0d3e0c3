"""When the data plane tries a call again, and on which node.

What is safe depends on the model. A connection that was refused, or a stream the server refused, never ran, so every
model gets a second try. A server that answers NOT_FOUND for a model the fleet knows did not execute the call either:
Triton says so while it stops or unloads. After a reset, CANCELLED or UNAVAILABLE it may have run (a gRPC server that
cancels its calls reports UNAVAILABLE): only a model that may be executed twice is tried again. A call of a sequence is
never moved to another node, where its state is not.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    HedgePolicy,
    RetryPolicy,
    RetryPolicyRetryBackOff,
    RetryPolicyRetryHostPredicate,
    RetryPolicyRetryPriority,
    RouteAction,
)
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.envoy.extensions.retry.priority.previous_priorities.v3 import PreviousPrioritiesConfig
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from inferno_proxy.resources.packing import packed, seconds
from inferno_proxy.routing.plan import ModelRoute

_NEVER_RAN = ("connect-failure", "refused-stream")
_MAY_HAVE_RUN = ("unavailable", "cancelled", "reset")
_GRPC_NOT_FOUND = "5"
# How often a node is chosen anew because the call was on it already. Least request likes what runs nothing, and so what
# has just died: of three nodes two of which are dead it chooses the third once in nine times.
_CHOICES = 100


def grpc_retries(route: ModelRoute) -> RetryPolicy:
    """Retries of a model's gRPC calls. The gRPC conditions only see a status that comes with the response's headers,
    which is how Triton reports every unary error."""
    if route.stateful:
        return _policy(_NEVER_RAN, route.traffic.retries, elsewhere=False)
    conditions: tuple[str, ...] = (*_NEVER_RAN, "retriable-headers")
    if route.repeatable:
        conditions = (*conditions, *_MAY_HAVE_RUN)
    policy = _policy(conditions, route.traffic.retries, elsewhere=True, farther=route.nearest_first)
    policy.retriable_headers = [HeaderMatcher(name="grpc-status", string_match=StringMatcher(exact=_GRPC_NOT_FOUND))]
    return policy


def http_retries(route: ModelRoute) -> RetryPolicy:
    """Retries of a model's REST calls; Triton's 404 is its NOT_FOUND, its 503 UNAVAILABLE."""
    if route.stateful:
        return _policy(_NEVER_RAN, route.traffic.retries, elsewhere=False)
    conditions = (*_NEVER_RAN, "retriable-status-codes")
    policy = _policy(
        (*conditions, "reset") if route.repeatable else conditions,
        route.traffic.retries,
        elsewhere=True,
        farther=route.nearest_first,
    )
    policy.retriable_status_codes = [404, 503] if route.repeatable else [404]
    return policy


def hedges(route: ModelRoute) -> bool:
    """True when a call without an answer is sent to another node as well: one that hangs fails no call.

    A decoupled model's answer may take as long as it takes.
    """
    return bool(route.hedge_after and route.traffic.retries) and route.repeatable and not route.decoupled


def hedge(route: ModelRoute, action: RouteAction) -> None:
    """Let a call that has its retries be hedged. The tries run side by side, and the first answer ends the others."""
    if hedges(route) and action.retry_policy is not None:
        action.retry_policy.per_try_timeout = seconds(route.hedge_after)
        action.hedge_policy = HedgePolicy(hedge_on_per_try_timeout=True)


def service_retries() -> RetryPolicy:
    """Calls to the control plane and the governator: wait out a restart of half a second."""
    policy = _policy(_NEVER_RAN, 5, elsewhere=False)
    policy.retry_back_off = RetryPolicyRetryBackOff(base_interval=seconds(0.05), max_interval=seconds(0.5))
    return policy


def _policy(conditions: tuple[str, ...], retries: int, *, elsewhere: bool, farther: bool = False) -> RetryPolicy:
    """``elsewhere``: on another node; ``farther``: of the next priority, since all of one may be dead and none of them
    known to be yet."""
    policy = RetryPolicy(
        retry_on=",".join(conditions),
        num_retries=retries,
        retry_back_off=RetryPolicyRetryBackOff(base_interval=seconds(0.01), max_interval=seconds(0.1)),
    )
    if elsewhere:
        predicate = packed(PreviousHostsPredicate())
        policy.retry_host_predicate = [
            RetryPolicyRetryHostPredicate(name="envoy.retry_host_predicates.previous_hosts", typed_config=predicate)
        ]
        policy.host_selection_retry_max_attempts = _CHOICES
    if farther:
        previous = packed(PreviousPrioritiesConfig(update_frequency=1))
        policy.retry_priority = RetryPolicyRetryPriority(
            name="envoy.retry_priorities.previous_priorities", typed_config=previous
        )
    return policy
