"""What a pool tells one provider alone, read into a class of that provider's own."""

from __future__ import annotations

from typing import TypeVar

import pydantic

from inferno_governator.pools.pool import Pool
from inferno_runtime.errors import InvalidInput


class Options(pydantic.BaseModel):
    """Options of a pool; a provider refines it. Values are text in the settings."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


Read = TypeVar("Read", bound=Options)


def read(pool: Pool, into: type[Read]) -> Read:
    """The options of a pool.

    Raises:
        InvalidInput: One is not known to the provider, is missing, or has a wrong value.
    """
    try:
        return into.model_validate(dict(pool.options))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(each) for each in first["loc"])
        if first["type"] == "extra_forbidden":
            why = f"the provider {pool.provider} has no option {key!r}"
        elif first["type"] == "missing":
            why = f"the provider {pool.provider} needs the option {key!r}"
        else:
            why = f"option {key!r}: {first['msg']}"
        raise InvalidInput(
            f"Pool {pool.name!r}: {why}.",
            reason="BAD_POOL",
            fix=f"The options of {pool.provider} are {', '.join(into.model_fields)}: see docs/providers.md.",
        ) from None
