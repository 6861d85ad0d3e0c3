"""Orders laid over settings: default < file < environment < flags < orders, validated by the same classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pydantic

from inferno_proxy.orders.order import Book, Order
from inferno_proxy.settings import ProxySettings
from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import Loaded


@dataclass(frozen=True, slots=True)
class Laid:
    """The settings with the orders that fit them, each with its place, and why each of the others does not fit."""

    settings: Loaded[ProxySettings]
    misfits: tuple[tuple[Order, str], ...] = ()

    def whole(self) -> Loaded[ProxySettings]:
        """The settings, if every order fits.

        Raises:
            InvalidInput: One contradicts what it is laid over.
        """
        for order, why in self.misfits:
            raise InvalidInput(
                f"With the {order.kind} of {order.by} on {order.subject!r} ({order.what()}): {why}.",
                reason="CONTRADICTION",
                fix=f"Change the settings or the order; inferno mesh clear {order.subject} takes it back.",
                metadata={"subject": order.subject},
            )
        return self.settings


def laid(found: Loaded[ProxySettings], book: Book) -> Laid:
    """Lay what patches settings over them, in the order in which it was given."""
    settings, misfits, lines = found.value, [], dict(found.lines)
    for order in sorted(patches(book), key=lambda each: (each.at, each.key)):
        try:
            settings = _patched(settings, order)
        except pydantic.ValidationError as error:
            misfits.append((order, _said(error)))
            continue
        lines["models", order.subject] = f"the {order.kind} of {order.by}"
    return Laid(replace(found, value=settings, lines=MappingProxyType(lines)), tuple(misfits))


def patches(book: Book) -> Iterable[Order]:
    """The orders that change settings."""
    return (order for order in book.values() if order.kind.patches)


def _patched(settings: ProxySettings, order: Order) -> ProxySettings:
    values: dict[str, Any] = settings.model_dump(exclude_unset=True)
    models = dict(values.get("models", {}))
    models[order.subject] = {**models.get(order.subject, {}), **order.patch}
    return ProxySettings.model_validate({**values, "models": models})


def _said(error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, ("proxy", *first["loc"])))
    return f"{where}: {first['msg'].removeprefix('Value error, ').rstrip('.')}"
