"""The access log: a JSON object for each call that ended, written by Envoy where the operator wants it.

No bodies, no query strings and no credentials. What a caller chooses is cut to a length, so that a line stays short.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog, AccessLogFilter, RuntimeFilter
from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.extensions.access_loggers.file.v3 import FileAccessLog
from envoy_data_plane.envoy.type.v3 import FractionalPercent
from envoy_data_plane.google.protobuf import Struct, Value

from inferno_proxy.envoy.bootstrap import ACCESS_LOG_SWITCH
from inferno_proxy.resources.names import MODEL_HEADER
from inferno_proxy.resources.packing import packed
from inferno_runtime.identity.caller import CLIENT

# Time, level, component and event are named as in our own processes' lines (inferno_runtime/logs.py).
_FIELDS = {
    "component": "access",
    "timestamp": "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%",
    "level": "info",
    "event": "call",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:PATH):256%",
    "protocol": "%PROTOCOL%",
    "route": "%ROUTE_NAME%",
    "model": f"%REQ({MODEL_HEADER}):256%",
    "client": f"%REQ({CLIENT}):128%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "milliseconds": "%DURATION%",
    "node": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
    "upstream": "%UPSTREAM_HOST%",
    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID):128%",
    "trace_id": "%TRACE_ID%",
}


def access_log(path: str) -> list[AccessLog]:
    """The log into a file, none for an empty path. A canary, whose probes are nobody's calls, has it switched off."""
    if not path:
        return []
    line = Struct(fields={name: Value(string_value=text) for name, text in _FIELDS.items()})
    switch = RuntimeFilter(
        runtime_key=ACCESS_LOG_SWITCH,
        percent_sampled=FractionalPercent(numerator=100),
        use_independent_randomness=True,
    )
    config = FileAccessLog(path=path, log_format=SubstitutionFormatString(json_format=line))
    return [
        AccessLog(
            name="envoy.access_loggers.file",
            filter=AccessLogFilter(runtime_filter=switch),
            typed_config=packed(config),
        )
    ]
