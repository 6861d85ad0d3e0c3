"""The last good fleet on disk, so that a restarted control plane forgets nobody.

One JSON file, readable by its owner only. Nodes are written in protobuf's JSON form, which outlives changes of our own
classes; a file that cannot be read is set aside, never deleted.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
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
_FORMAT = 1
# A large fleet's burst of changes is written once, and its file takes a tenth of the time at most.
_GATHER = 0.5
_REST = 9
# Seconds for each node: what a pause is at most. What is not written yet is forgotten with a killed process, so a small
# fleet waits neither for a burst nor for a slow disk.
_EACH_NODE = 0.001


@dataclass(frozen=True, slots=True)
class Remembered:
    """A node of an earlier life of the control plane, with its lease's duration in seconds."""

    record: Record
    duration: float


class Memory:
    """The file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, tuple[Remembered, str]] = {}

    def read(self) -> tuple[Remembered, ...]:
        """The nodes last written; none when there is no file, or when it is damaged (it is set aside then)."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            return self._set_aside(error)
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                raise ValueError(f"format {document['format']!r} is not {_FORMAT}")
            return tuple(_remembered(each) for each in document["nodes"])
        except (ValueError, KeyError, TypeError, AttributeError, json_format.ParseError, InvalidInput) as error:
            return self._set_aside(error)

    def write(self, nodes: tuple[Remembered, ...]) -> None:
        """Keep the nodes, so that a reader finds the old or the new file, never a part.

        Raises:
            OSError: The file cannot be written.
        """
        # A node takes 0.1 ms to put into words, and of ten thousand few have changed since the last time.
        before, self._texts = self._texts, {}
        for each in nodes:
            node_id = each.record.node.node_id
            known = before.get(node_id)
            same = known is not None and known[0].record is each.record and known[0].duration == each.duration
            self._texts[node_id] = known if known is not None and same else (each, json.dumps(_written(each)))
        texts = ",".join(text for _, text in self._texts.values())
        partial = self._path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f'{{"format": {_FORMAT}, "nodes": [{texts}]}}')
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)

    async def keep(self, registry: Registry, clock: Clock) -> None:
        """Write the fleet whenever it has changed; runs until cancelled. A disk that fails costs memory only."""
        took = 0.0
        async for view in registry.view.watch():
            await clock.sleep(min(max(_GATHER, _REST * took), _EACH_NODE * len(view.members)))
            began = clock.monotonic()
            nodes = tuple(Remembered(record, duration) for record, duration in registry.records())
            try:
                await asyncio.to_thread(self.write, nodes)
            except OSError as error:
                _LOG.error(
                    "fleet not kept",
                    path=str(self._path),
                    reason=error.strerror,
                    effect="a restarted control plane starts from an older fleet",
                )
            took = clock.monotonic() - began

    def _set_aside(self, why: Exception) -> tuple[Remembered, ...]:
        aside = self._path.with_suffix(".corrupt")
        self._path.replace(aside)
        _LOG.warning("last good fleet set aside", path=str(self._path), aside=str(aside), reason=str(why))
        return ()


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
