"""Orders on disk, so that they outlive the control plane: one JSON file that only its owner can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from inferno_proxy.orders.order import EMPTY, Book, Kind, Order
from inferno_runtime import logs
from inferno_runtime.errors import Unavailable

_LOG = logs.get("orders")
_FORMAT = 1


class OrderFile:
    """The file at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Book:
        """The orders last written; none when there is no file, or when it is damaged (it is set aside then)."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["format"] != _FORMAT:
                raise ValueError(f"format {document['format']!r} is not {_FORMAT}")
            orders = [_read(each) for each in document["orders"]]
        except FileNotFoundError:
            return EMPTY
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._path.with_suffix(".corrupt")
            self._path.replace(aside)
            _LOG.error("orders set aside", path=str(self._path), aside=str(aside), reason=str(error))
            return EMPTY
        return MappingProxyType({order.key: order for order in orders})

    def write(self, book: Book) -> None:
        """Keep the orders, so that a reader finds the old or the new file, never a part.

        Raises:
            Unavailable: The file cannot be written.
        """
        document = {"format": _FORMAT, "orders": [_written(order) for order in book.values()]}
        partial = self._path.with_suffix(".partial")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            raise Unavailable(
                f"The order cannot be kept at {self._path}: {error.strerror}.",
                reason="ORDERS_UNWRITABLE",
                fix="See to the disk of the data folder; nothing has changed.",
            ) from error


def _written(order: Order) -> dict[str, Any]:
    return {"kind": order.kind.value, **{k: v for k, v in asdict(_plain(order)).items() if k != "kind"}}


def _plain(order: Order) -> Order:
    return Order(**{name: getattr(order, name) for name in Order.__slots__} | {"patch": dict(order.patch)})


def _read(written: dict[str, Any]) -> Order:
    return Order(
        Kind(written["kind"]),
        str(written["subject"]),
        str(written["by"]),
        float(written["at"]),
        str(written["reason"]),
        None if written["expires"] is None else float(written["expires"]),
        float(written["factor"]),
        MappingProxyType(dict(written["patch"])),
    )
