"""Ask sources of live prices, and take in what the rules let pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.sources.aws_source import AwsSource
from inferno_governator.prices.sources.aws_spot_source import AwsSpotSource
from inferno_governator.prices.sources.azure_source import AzureSource
from inferno_governator.prices.sources.gpuhunt_source import GpuhuntSource
from inferno_governator.prices.sources.source import Addresses, Source
from inferno_governator.prices.taking import Outcome
from inferno_runtime.errors import InvalidInput, Unavailable, Unsupported


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one source gave: outcomes, or why it could not be asked."""

    source: str
    outcomes: list[Outcome]
    error: str = ""


def sources(addresses: Addresses) -> Mapping[str, Callable[[], Source]]:
    """Every source by its name."""
    return {
        "gpuhunt": GpuhuntSource,
        "azure": lambda: AzureSource(addresses.azure),
        "aws": lambda: AwsSource(addresses.aws),
        "aws-spot": AwsSpotSource,
    }


async def refresh(
    keeper: PriceKeeper,
    known: Mapping[str, Callable[[], Source]],
    names: Collection[str],
    clouds: Collection[str],
    *,
    confirmed: bool = False,
) -> list[Refreshed]:
    """Ask sources one after another; none of them keeps the others from being asked.

    Args:
        keeper: Takes the prices in.
        known: Sources by name.
        names: Whom to ask; none is all that are installed.
        clouds: Of which clouds; none is all.
        confirmed: Whatever they say is right, however far it jumps.

    Raises:
        InvalidInput: There is no source of that name.
        Unavailable: The store cannot be used now.
    """
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"There is no source of prices {name[:40]!r}.",
                reason="UNKNOWN_SOURCE",
                fix=f"Ask one of {', '.join(known)}.",
            )
    done = []
    for name in names or known:
        try:
            quotes = await known[name]().quotes(keeper.book, frozenset(clouds), keeper.today())
        except (Unsupported, Unavailable) as error:
            # What is not installed, or has no credentials, and was not asked for by name is no fault.
            if names or isinstance(error, Unavailable):
                done.append(Refreshed(name, [], f"{error.message} {error.fix}"))
            continue
        done.append(Refreshed(name, await keeper.take(quotes, confirmed=confirmed)))
    return done
