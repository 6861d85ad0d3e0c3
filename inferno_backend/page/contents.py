"""What a node shows of itself: one value, from which both forms of its page are made; and the form for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.hardware.use import Use
from inferno_backend.node import ModelLoad, NodeState
from inferno_backend.registration import ProxyView
from inferno_backend.tally import Tally
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.uplink import Progress

_NO_COUNTERS: Mapping[Key, Counters] = MappingProxyType({})
_NO_PROXIES: Mapping[str, ProxyView] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Contents:
    """A node at one moment.

    ``counters`` are Triton's by its last reading, ``load`` None when there is no fresh one, ``samples`` those of the
    last window, ``devices`` what was seen of each last. ``telemetry`` None: none is sent. ``certificate_until`` is Unix
    time; None for a node without a certificate.
    """

    node_id: str
    incarnation: int
    agent_version: str
    state: NodeState
    triton_pid: int = 0
    counters: Mapping[Key, Counters] = field(default_factory=lambda: _NO_COUNTERS)
    load: Sequence[ModelLoad] | None = None
    samples: Sequence[telemetry_pb2.Sample] = ()
    devices: Sequence[Use] = ()
    telemetry: Progress | None = None
    proxies: Mapping[str, ProxyView] = field(default_factory=lambda: _NO_PROXIES)
    tally: Tally = field(default_factory=Tally)
    certificate_until: float | None = None

    @property
    def ready(self) -> bool:
        """True when some model can be called here."""
        return self.state.condition == "SERVING" and any(model.ready for model in self.state.models)


def document(shown: Contents) -> dict[str, Any]:
    """The node as one JSON object. Names of samples are those of telemetry.proto; times are RFC 3339."""
    state = shown.state
    loads = {load.model: asdict(load) for load in shown.load or ()}
    return {
        "node_id": shown.node_id,
        "incarnation": shown.incarnation,
        "agent_version": shown.agent_version,
        "condition": state.condition.value,
        "reason": state.reason,
        "endpoints": asdict(state.endpoints),
        "server_version": state.server_version,
        "triton_pid": shown.triton_pid,
        "models": [{**asdict(model), "load": loads.get(model.name)} for model in state.models],
        "counters": [
            {"model": model, "version": version, **asdict(counters)}
            for (model, version), counters in shown.counters.items()
        ],
        "samples": [_sample(one) for one in shown.samples],
        "devices": [_device(use) for use in shown.devices],
        "telemetry": asdict(shown.telemetry) if shown.telemetry is not None else None,
        "proxies": [{"address": address, **asdict(view)} for address, view in shown.proxies.items()],
        "counts": asdict(shown.tally),
        "certificate_until": _moment(shown.certificate_until) if shown.certificate_until is not None else None,
    }


def _device(use: Use) -> dict[str, Any]:
    """A device with every field; null where it does not tell."""
    return {
        **{each.name: getattr(use, each.name) for each in fields(use)},
        "xids": {str(xid): count for xid, count in use.xids.items()},
        "processes": [asdict(one) for one in use.processes],
    }


def _sample(sample: telemetry_pb2.Sample) -> dict[str, Any]:
    kind = sample.WhichOneof("measurement")
    return {
        "time": _moment(sample.time.ToNanoseconds() / 1e9),
        "window_seconds": sample.window.ToNanoseconds() / 1e9,
        **({kind: _plain(getattr(sample, kind))} if kind else {}),
    }


def _plain(value: Any) -> Any:
    """A message as plain values: fields that are zero too, null for what is unset. Numbers stay numbers, which
    protobuf's own JSON quotes from 64 bits on."""
    if not isinstance(value, Message):
        return value
    found: dict[str, Any] = {}
    for each in value.DESCRIPTOR.fields:
        if each.is_repeated:
            found[each.name] = [_plain(one) for one in getattr(value, each.name)]
        elif each.has_presence and not value.HasField(each.name):
            found[each.name] = None
        else:
            found[each.name] = _plain(getattr(value, each.name))
    return found


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).isoformat().replace("+00:00", "Z")
