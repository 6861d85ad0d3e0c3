"""Every provider that there is, by the name that pools call it. Its library is imported when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from inferno_governator.pools.pool import Pool
from inferno_governator.providers import aws, kubernetes, local, skypilot, webhook
from inferno_governator.providers.provider import Provider
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput


def providers(pools: Sequence[Pool], terms: local.Terms, clock: Clock) -> Mapping[str, Provider]:
    """The providers that pools name, each with its pools.

    Args:
        pools: Every pool of the settings.
        terms: How nodes run that are processes of this machine.
        clock: For those that wait.

    Raises:
        InvalidInput: There is no provider of a name, or a pool's options cannot be understood.
        Unsupported: A library that one needs is not installed.
    """
    known = _known(terms, clock)
    named: dict[str, list[Pool]] = {}
    for pool in pools:
        if pool.provider not in known:
            raise InvalidInput(
                f"Pool {pool.name!r}: there is no provider {pool.provider[:40]!r}.",
                reason="UNKNOWN_PROVIDER",
                fix=f"Name one of {', '.join(known)}.",
            )
        named.setdefault(pool.provider, []).append(pool)
    return {name: known[name](theirs) for name, theirs in named.items()}


def _known(terms: local.Terms, clock: Clock) -> Mapping[str, Callable[[Sequence[Pool]], Provider]]:
    return {
        "local": lambda pools: local.Local(pools, terms, clock),
        "aws": aws.Aws,
        "kubernetes": kubernetes.Kubernetes,
        "skypilot": skypilot.SkyPilot,
        "webhook": lambda pools: webhook.Webhook(pools, clock),
    }
