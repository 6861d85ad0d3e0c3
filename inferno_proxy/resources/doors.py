"""What the data plane says of a caller to the services behind it.

A service believes these headers (:mod:`inferno_runtime.identity.caller`), so what a caller sends under their names
never reaches one: the listener drops it (:mod:`inferno_proxy.resources.outside_headers`), ``x-forwarded-client-cert``
is Envoy's own affair, and the door is set anew on every route to a service.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import HeaderValue, HeaderValueOption, HeaderValueOptionHeaderAppendAction

from inferno_runtime.identity.caller import DOOR, Door


def door_header(door: Door) -> HeaderValueOption:
    """Says which way a call came in, whatever the caller says."""
    return HeaderValueOption(
        header=HeaderValue(key=DOOR, value=door.value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
