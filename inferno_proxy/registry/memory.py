"""The last good fleet on disk, so that a restarted control plane forgets nobody.

One file, readable by its owner only: a line for each node, and one more at its end for each change, of which the last
counts. It is written anew as a whole when most of it is past. Nodes are written in protobuf's JSON form, which outlives
changes of our own classes; a file that cannot be read is set aside, never deleted.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from inferno.registration.v1 import node_pb2
from inferno_proxy.fleet import Source
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.registry import Registry
from inferno_proxy.services.node_wire import node_from_wire, node_to_wire
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput

_LOG = logs.get("memory")
_FORMAT = 2
# A large fleet's burst of changes is written once. What is not written yet is forgotten with a killed process, so a
# small fleet does not wait for one: seconds, and seconds for each node up to that.
_GATHER = 0.1
_EACH_NODE = 0.001
# The file may have this many lines, and as many as there are nodes, that count no more.
_PAST = 1000


@dataclass(frozen=True, slots=True)
class Remembered:
    """A node of an earlier life of the control plane, with its lease's duration in seconds."""

    record: Record
    duration: float


class Memory:
    """The file. Its writer is the one asker of :meth:`Registry.take_news`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A node takes 0.1 ms to put into words, and of ten thousand few change.
        self._texts: dict[str, str] = {}
        # In the file as this life left it; None where it has to be written as a whole.
        self._lines: int | None = None

    def read(self) -> tuple[Remembered, ...]:
        """The nodes last written; none when there is no file, or when it is damaged (it is set aside then). A last line
        that was not written to its end never counted."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            return self._set_aside(error)
        try:
            head, *lines = text.split("\n")[:-1]
            if (written := json.loads(head)["format"]) != _FORMAT:
                raise ValueError(f"format {written!r} is not {_FORMAT}")
            nodes: dict[str, Remembered] = {}
            for node_id, each in map(_read, lines):
                if each is None:
                    nodes.pop(node_id, None)
                else:
                    nodes[node_id] = each
            return tuple(nodes.values())
        except (ValueError, KeyError, TypeError, AttributeError, json_format.ParseError, InvalidInput) as error:
            return self._set_aside(error)

    def write(self, news: Mapping[str, Remembered | None]) -> None:
        """Add what is new of nodes, None for one that is gone. The file of an earlier life is replaced at once: a
        reader finds the old one or the new one.

        Raises:
            OSError: The file cannot be written; the next call tries to write all of it.
        """
        lines, self._lines = self._lines, None
        for node_id, each in news.items():
            if each is None:
                self._texts.pop(node_id, None)
            else:
                self._texts[node_id] = json.dumps(_written(each))
        if lines is None or lines + len(news) > 2 * len(self._texts) + _PAST:
            self._replace()
            self._lines = len(self._texts)
        else:
            self._append(self._texts.get(node_id) or json.dumps({"gone": node_id}) for node_id in news)
            self._lines = lines + len(news)

    async def keep(self, registry: Registry, clock: Clock) -> None:
        """Write what changes in the fleet; runs until cancelled. A disk that fails costs memory only."""
        async for view in registry.view.watch():
            await clock.sleep(min(_GATHER, _EACH_NODE * len(view.members)))
            found = registry.take_news()
            news = {node_id: Remembered(*each) if each else None for node_id, each in found.items()}
            try:
                await asyncio.to_thread(self.write, news)
            except OSError as error:
                _LOG.error(
                    "fleet not kept",
                    path=str(self._path),
                    reason=error.strerror,
                    effect="a restarted control plane starts from an older fleet",
                )

    def _replace(self) -> None:
        partial = self._path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _put(descriptor, (json.dumps({"format": _FORMAT}), *self._texts.values()))
        partial.replace(self._path)

    def _append(self, lines: Iterable[str]) -> None:
        _put(os.open(self._path, os.O_WRONLY | os.O_APPEND), lines)

    def _set_aside(self, why: Exception) -> tuple[Remembered, ...]:
        aside = self._path.with_suffix(".corrupt")
        self._path.replace(aside)
        _LOG.warning("last good fleet set aside", path=str(self._path), aside=str(aside), reason=str(why))
        return ()


def _put(descriptor: int, lines: Iterable[str]) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(descriptor)


def _read(line: str) -> tuple[str, Remembered | None]:
    """What a line says of which node."""
    written = json.loads(line)
    if "gone" in written:
        return str(written["gone"]), None
    each = _remembered(written)
    return each.record.node.node_id, each


def _written(each: Remembered) -> dict[str, Any]:
    record = each.record
    return {
        "node": json_format.MessageToDict(node_to_wire(record.node), preserving_proto_field_name=True),
        "revision": record.node.revision,
        "source": record.source.value,
        "drained": record.drained,
        "drain_ends": record.drain_ends,
        "lease": each.duration,
    }


def _remembered(written: Mapping[str, Any]) -> Remembered:
    node = node_from_wire(json_format.ParseDict(written["node"], node_pb2.Node()), int(written["revision"]))
    ends = written.get("drain_ends")
    record = Record(
        node=node,
        source=Source(written["source"]),
        life=0,
        drained=bool(written["drained"]),
        drain_ends=None if ends is None else float(ends),
    )
    return Remembered(record, float(written["lease"]))
