"""Nodes that a watched file names (``proxy.discovery_file``): YAML, or JSON for long lists."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, cast

import pydantic

from inferno_proxy.discovery.listing import Named
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Address, Model, Node
from inferno_runtime import watched_file, yaml_text
from inferno_runtime.addresses import parse_address
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.latest import Latest
from inferno_runtime.settings import option


def _address(text: str) -> str:
    try:
        parse_address(text)
    except InvalidInput as error:
        raise ValueError(f"{error.message.rstrip('.')}") from error
    return text


HostPort = Annotated[str, pydantic.AfterValidator(_address)]


class NodeEntry(pydantic.BaseModel):
    """One node of the file."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    node_id: str = option(
        help="Name of the node in the mesh: letters, digits, '.', '_' and '-'.", pattern=r"^[A-Za-z0-9._-]{1,128}$"
    )
    grpc: HostPort = option(help="Where its model server's gRPC port is reached: HOST:PORT.")
    http: HostPort | None = option(None, help="Where its REST port is reached: HOST:PORT; left out, it serves no REST.")
    region: str = option("", help="Cloud region, for example us-east-1.", max_length=256)
    zone: str = option("", help="Availability zone, for example us-east-1a.", max_length=256)
    labels: Mapping[str, str] = option({}, help="Free-form labels.", max_length=64)
    models: tuple[str, ...] = option((), help="Models to ask for; needed only where the server keeps no index of them.")
    spot: bool = option(default=False, help="The provider may reclaim it at short notice.")
    price_per_hour: Decimal = option(Decimal(0), help="What an hour of it costs, in US dollars.", ge=0, le=1_000_000)

    def node(self) -> Node:
        """The same as the control plane sees it; what its models are is read from its server."""
        return Node(
            node_id=self.node_id,
            incarnation=1,
            grpc_address=Address(*parse_address(self.grpc)),
            http_address=Address(*parse_address(self.http)) if self.http else None,
            models=tuple(Model(name) for name in self.models),
            region=self.region,
            zone=self.zone,
            labels=MappingProxyType(dict(self.labels)),
            price_micros_per_hour=int((self.price_per_hour * 1_000_000).to_integral_value()),
            spot=self.spot,
        )


class NodeList(pydantic.BaseModel):
    """The whole file."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    nodes: tuple[NodeEntry, ...] = option(help="The nodes; an empty list means that there are none.")


def parse(content: bytes, name: object) -> Named:
    """Read the file's content; ``name`` is the file's, for places and mistakes.

    Raises:
        InvalidInput: There is a mistake; the sentence has its place and the reason.
    """
    document = _json(content, name) if content.lstrip().startswith(b"{") else yaml_text.parse(content, name)
    places = _Places(document, name)
    try:
        entries = NodeList.model_validate(yaml_text.plain(document)).nodes
    except pydantic.ValidationError as error:
        raise places.mistake(error) from error
    nodes: dict[str, Node] = {}
    where: dict[str, str] = {}
    for at, entry in enumerate(entries):
        place = places.of(("nodes", at))
        if entry.node_id in nodes:
            raise _refusal(place, f"node_id {entry.node_id!r} is named at {where[entry.node_id]} already")
        nodes[entry.node_id], where[entry.node_id] = entry.node(), place
    return Named(nodes, where)


async def follow_file(path: Path, named: Latest[Named | None], events: EventLog, clock: Clock) -> None:
    """Read the file now and whenever it changes, until cancelled.

    A file that cannot be read or has a mistake changes nothing: DISCOVERY_REFUSED says why, once for each content.
    """
    async for seen in watched_file.contents(path, clock):
        try:
            if seen.content is None:
                raise _refusal(str(path), f"it cannot be read ({seen.problem})")
            found = await asyncio.to_thread(parse, seen.content, path)
        except InfernoError as error:
            kept = "it names none yet" if named.value is None else "those of before stay"
            events.healed(
                "DISCOVERY_REFUSED",
                str(path),
                cause="The list of nodes is no good",
                evidence=error.message.rstrip("."),
                effect=kept,
            )
            continue
        events.add(
            "DISCOVERY_READ", str(path), f"{path} names {len(found.nodes)} nodes{_compared(named.value, found)}."
        )
        named.set(found)


def _compared(before: Named | None, now: Named) -> str:
    if before is None:
        return ""
    come, gone = len(now.nodes.keys() - before.nodes.keys()), len(before.nodes.keys() - now.nodes.keys())
    return f": {come} more, {gone} no longer"


def _json(content: bytes, name: object) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise _refusal(f"{name}:{error.lineno}", f"this is not valid JSON: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise _refusal(str(name), f"this is not JSON: {error}") from error


class _Places:
    """Where things stand in a document: ``FILE:LINE``, or in JSON, which is read without lines, the path of keys."""

    def __init__(self, document: Any, name: object) -> None:
        self._document = document
        self._name = name

    def of(self, keys: tuple[int | str, ...]) -> str:
        """Where the innermost of these keys stands."""
        lines = list(self._lines(keys))
        if lines:
            return f"{self._name}:{lines[-1]}"
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        return f"{self._name}: {path}" if path else str(self._name)

    def _lines(self, keys: tuple[int | str, ...]) -> Iterator[int]:
        here = self._document
        for key in keys:
            known = cast("Any", here).lc if hasattr(here, "lc") else None
            if known is None or (key not in here if isinstance(here, Mapping) else not isinstance(key, int)):
                return
            yield (known.key(key) if isinstance(here, Mapping) else known.item(key))[0] + 1
            here = here[key]

    def mistake(self, error: pydantic.ValidationError) -> InvalidInput:
        """The first mistake in one sentence."""
        # A key that is misspelt is often one that is missing, too.
        first = next((each for each in error.errors() if each["type"] == "extra_forbidden"), error.errors()[0])
        keys = tuple(first["loc"])
        place, key = self.of(keys), str(keys[-1]) if keys else ""
        if first["type"] == "extra_forbidden":
            valid = list(NodeEntry.model_fields if len(keys) > 1 else NodeList.model_fields)
            near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(valid)}"
            return _refusal(place, f"unknown key {key!r} ({meant})")
        if first["type"] == "missing":
            return _refusal(place, f"the key {key!r} is missing")
        if not keys:
            return _refusal(place, "it holds no key 'nodes' with a list of nodes")
        what = first["msg"].removeprefix("Value error, ")
        return _refusal(place, f"{key}: {what[:1].lower()}{what[1:]}")


def _refusal(place: str, why: str) -> InvalidInput:
    return InvalidInput(f"{place}: {why}.", reason="BAD_NODE_FILE", fix="Correct it: the file is watched.")
