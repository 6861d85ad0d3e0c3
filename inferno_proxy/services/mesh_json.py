"""MeshService as JSON over HTTP: one table of (method, path) to RPC, in protobuf's own JSON form.

A GET takes its fields from the path and the query, a POST from the path and the body. ``?watch=1`` turns a list into a
stream, one JSON object a line. Each answer, error and permission is that of the RPC.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from inferno.mesh.v1 import mesh_service_pb2
from inferno_proxy.services.mesh_service import MeshService
from inferno_proxy.services.message_json import error_json
from inferno_runtime.errors import InfernoError, InvalidInput

_SERVICE = mesh_service_pb2.DESCRIPTOR.services_by_name["MeshService"]
_UNKNOWN = re.compile(r'has no field named "([^"]+)"')
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")
# How often somebody looks whether the reader of a stream is still there, in seconds: nothing else tells of it while
# there is nothing to send.
_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class Path:
    """An RPC's place; ``watch`` is the RPC that streams the same."""

    method: str
    path: str
    rpc: str
    watch: str = ""


PATHS = (
    Path("GET", "/mesh/v1/nodes", "ListNodes", "WatchNodes"),
    Path("GET", "/mesh/v1/models", "ListModels", "WatchModels"),
    Path("GET", "/mesh/v1/endpoints", "ListEndpoints", "WatchEndpoints"),
    Path("GET", "/mesh/v1/clients", "ListClients", "WatchClients"),
    Path("GET", "/mesh/v1/events", "ListEvents", "WatchEvents"),
    Path("GET", "/mesh/v1/orders", "ListOrders"),
    Path("GET", "/mesh/v1/audit", "ListAudit"),
    Path("GET", "/mesh/v1/explain", "Explain"),
    Path("POST", "/mesh/v1/nodes/{node_id}/drain", "DrainNode"),
    Path("POST", "/mesh/v1/nodes/{node_id}/undrain", "UndrainNode"),
    Path("POST", "/mesh/v1/nodes/{node_id}/weight", "SetNodeWeight"),
    Path("POST", "/mesh/v1/nodes/{node_id}/quarantine", "QuarantineNode"),
    Path("POST", "/mesh/v1/nodes/{node_id}/release", "ReleaseNode"),
    Path("POST", "/mesh/v1/models/{model}/split", "SetSplit"),
    Path("POST", "/mesh/v1/models/{model}/limit", "SetLimit"),
    Path("POST", "/mesh/v1/models/{model}/quarantine", "QuarantineModel"),
    Path("POST", "/mesh/v1/models/{model}/release", "ReleaseModel"),
    Path("POST", "/mesh/v1/orders/clear", "ClearOrders"),
)


class _Called:
    """What a method of the service asks of its call: the headers, in which Envoy says who calls."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


class MeshJson:
    """Calls the methods of ``service``."""

    def __init__(self, service: MeshService) -> None:
        self._service = service

    def add_to(self, app: web.Application) -> None:
        """Add every path to an application whose middleware answers errors."""
        for path in PATHS:
            app.router.add_route(path.method, path.path, self._handler(path))

    def _handler(self, path: Path) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            fields = dict(request.query) if path.method == "GET" else await _body(request)
            watch = bool(path.watch) and _flag("watch", fields.pop("watch", "0"))
            for name, value in request.match_info.items():
                if fields.setdefault(name, value) != value:
                    raise _malformed(name, f"the path names {value[:128]!r}, and the body another one")
            message = _parse(path.watch if watch else path.rpc, fields)
            call: Any = getattr(self._service, path.watch if watch else path.rpc)(message, _Called(request.headers))
            return await _stream(request, call) if watch else web.json_response(_json(await call))

        return handle


async def _stream(request: web.Request, views: AsyncIterator[Message]) -> web.StreamResponse:
    """Send each view as a line, until the control plane stops or the reader goes."""
    # What is refused is refused with its status: it is known before the first view.
    first = await anext(views)
    response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
    await response.prepare(request)
    try:
        await _send(response, _json(first))
        async for view in _while_read(request, views):
            await _send(response, _json(view))
    except InfernoError as error:
        await _send(response, error_json(error))
    except ConnectionError:
        # The reader is gone.
        return response
    await response.write_eof()
    return response


async def _while_read(request: web.Request, views: AsyncIterator[Message]) -> AsyncIterator[Message]:
    step: asyncio.Task[Message] | None = None
    try:
        while True:
            step = asyncio.create_task(_next(views), name="mesh-json-step")
            while not (await asyncio.wait({step}, timeout=_LOOK))[0]:
                if request.transport is None:
                    return
            yield step.result()
    finally:
        if step is not None:
            step.cancel()


async def _next(views: AsyncIterator[Message]) -> Message:
    return await anext(views)


async def _send(response: web.StreamResponse, document: Any) -> None:
    await response.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")


def _json(message: Message) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


async def _body(request: web.Request) -> dict[str, Any]:
    """The fields of a POST; an empty body has none.

    A browser sends a form to any address unasked, but asks first before it sends JSON: so a page that somebody looks at
    cannot operate the mesh on his machine.
    """
    if request.content_type != "application/json":
        raise InvalidInput(
            "The body is not declared as JSON.",
            reason="MALFORMED_REQUEST",
            fix="Send it with the header 'content-type: application/json'; an act without fields is {}.",
            metadata={"field": "content-type"},
        )
    body = await request.read()
    try:
        document = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The body is not valid JSON: {error}.", reason="MALFORMED_REQUEST") from error
    if not isinstance(document, dict):
        raise InvalidInput("The body is not a JSON object.", reason="MALFORMED_REQUEST")
    return document


def _parse(rpc: str, fields: Mapping[str, Any]) -> Message:
    """The request of an RPC; numbers and yes or no may be text, as they are in a query."""
    descriptor = _SERVICE.methods_by_name[rpc].input_type
    known = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    document = {}
    for name, value in fields.items():
        if name not in known:
            raise _unknown(name, (field.name for field in descriptor.fields))
        is_flag = known[name].type == FieldDescriptor.TYPE_BOOL and isinstance(value, str)
        document[name] = _flag(name, value) if is_flag else value
    message = message_factory.GetMessageClass(descriptor)()
    try:
        return json_format.ParseDict(document, message)
    except (json_format.ParseError, RecursionError) as error:
        if unknown := _UNKNOWN.search(str(error)):
            raise _unknown(unknown[1], ()) from error
        raise InvalidInput(
            f"The request cannot be read: {error}.", reason="MALFORMED_REQUEST", fix=f"See {descriptor.full_name}."
        ) from error


def _flag(name: str, value: object) -> bool:
    if str(value).lower() not in (*_YES, *_NO):
        raise _malformed(name, f"{str(value)[:64]!r} is neither 1 nor 0")
    return str(value).lower() in _YES


def _unknown(name: str, known: Iterable[str]) -> InvalidInput:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    fix = f"Did you mean {near[0]!r}?" if near else f"Fields: {', '.join(names) or 'none'}."
    return InvalidInput(
        f"Unknown field {name[:64]!r} in the request.",
        reason="MALFORMED_REQUEST",
        fix=fix,
        metadata={"field": name[:64]},
    )


def _malformed(field: str, why: str) -> InvalidInput:
    return InvalidInput(f"{field}: {why}.", reason="MALFORMED_REQUEST", fix="Correct it.", metadata={"field": field})
