"""What the call filter has to know of aliases, as a route's metadata (read by call_filter/alias.h)."""

from __future__ import annotations

from collections.abc import Mapping

from envoy_data_plane.envoy.config.core.v3 import Metadata
from envoy_data_plane.google.protobuf import Struct, Value

from inferno_proxy.routing.aliases import Alias

_TABLE = "inferno.aliases"


def alias_metadata(aliases: Mapping[str, Alias], *, stateful: bool = False) -> Metadata | None:
    """``{ALIAS: {model: NAME, version: "2", stateful: "yes"}}``, the last two where they apply; None without aliases.

    ``stateful``: the filter has to read a REST call's sequence id. Over gRPC it does so in any case.
    """
    if not aliases:
        return None
    entries = {name: _struct(_entry(alias, stateful=stateful)) for name, alias in aliases.items()}
    return Metadata(filter_metadata={_TABLE: Struct(fields=entries)})


def _entry(alias: Alias, *, stateful: bool) -> dict[str, str]:
    entry = {"model": alias.model}
    if alias.version:
        entry["version"] = alias.version
    if stateful:
        entry["stateful"] = "yes"
    return entry


def _struct(texts: Mapping[str, str]) -> Value:
    return Value(struct_value=Struct(fields={key: Value(string_value=text) for key, text in texts.items()}))
