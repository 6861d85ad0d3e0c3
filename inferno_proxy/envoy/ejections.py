"""Envoy's ejections of endpoints, read from the lines it writes of them.

Envoy takes an endpoint out that keeps answering with errors while its probes pass (outlier detection), and writes one
JSON object when it does so and one when it lets the endpoint in again. Source of the fields:
envoy/data/cluster/v3/outlier_detection_event.proto.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterable

from inferno_proxy.events import Event
from inferno_proxy.supervisor.act import Act
from inferno_runtime import logs

_LOG = logs.get("envoy")
# An ejection lasts no longer (resources/clusters.py), with some time for the word of its end to come; in seconds.
_LONGEST = 15.0
_ABOUT = re.compile(r"endpoint (\S+) of model (.+?)(?:: .*| has been out)")
# How a line of the access log begins (resources/access_log.py): Envoy sorts the names.
ACCESS_LINE = b'{"bytes_received":'
_CAUSES = {
    "CONSECUTIVE_5XX": "it kept answering with errors",
    "CONSECUTIVE_GATEWAY_FAILURE": "it kept refusing or breaking calls",
    "CONSECUTIVE_LOCAL_ORIGIN_FAILURE": "it could not be reached",
}


def ejection(line: str) -> Act | None:
    """The act that a line tells of; None for one that was only considered.

    Raises:
        ValueError: The line is something else.

    >>> line = '{"type": "CONSECUTIVE_5XX", "cluster_name": "model/m/grpc", "upstream_url": "10.0.0.1:8001", '
    >>> ejection(line + '"action": "EJECT", "num_ejections": 1, "enforced": true}').effect
    'Envoy sends it no calls of this model for a while'
    """
    try:
        said = json.loads(line)
        cluster, endpoint, action = str(said["cluster_name"]), str(said["upstream_url"]), said["action"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no ejection: {line!r}") from error
    # A return never says that it is enforced.
    if action == "EJECT" and not said.get("enforced"):
        return None
    # Clusters are named after the model and the protocol (resources/names.py).
    model, _, protocol = cluster.removeprefix("model/").rpartition("/")
    what = f"endpoint {endpoint} of model {model}"
    number = f"ejection number {said.get('num_ejections', 0)} of it over {'gRPC' if protocol == 'grpc' else 'REST'}"
    if action == "EJECT":
        cause = f"{what}: {_CAUSES.get(said.get('type', ''), 'it did worse than the others')}"
        return Act("ENDPOINT_EJECTED", endpoint, cause, number, "Envoy sends it no calls of this model for a while")
    seconds = float(said.get("secs_since_last_action", 0))
    return Act("ENDPOINT_BACK", endpoint, f"{what} has been out", number, "Envoy sends it calls again", seconds)


def ejected(events: Iterable[Event], now: float) -> frozenset[tuple[str, str]]:
    """The endpoints (address, model) that are out at ``now`` (Unix seconds), from what was reported of ejections.

    An Envoy that ends says nothing of those it had ejected: after the longest time that an ejection lasts, none counts.
    """
    out: dict[tuple[str, str], bool] = {}
    for event in events:
        about = _ABOUT.fullmatch(event.cause) if event.kind in ("ENDPOINT_EJECTED", "ENDPOINT_BACK") else None
        if about is not None:
            out[about[1], about[2]] = event.kind == "ENDPOINT_EJECTED" and now - event.time < _LONGEST
    return frozenset(endpoint for endpoint, is_out in out.items() if is_out)


async def follow(stream: asyncio.StreamReader, report: Callable[[Act], None]) -> None:
    """Report every ejection and every return until the stream ends; lines of the access log go to our own output."""
    while raw := await stream.readline():
        if raw.startswith(ACCESS_LINE):
            _pass_on(raw)
            continue
        try:
            act = ejection(raw.decode(errors="replace"))
        except ValueError as error:
            _LOG.warning("envoy wrote something unexpected", reason=str(error))
            continue
        if act is not None:
            report(act)


def _pass_on(line: bytes) -> None:
    # Nobody may have to read it: what cannot be written is lost, and the proxy goes on.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
