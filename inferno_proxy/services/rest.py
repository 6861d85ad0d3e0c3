"""The control plane over HTTP: fleet-level REST as Triton answers it, registration by JSON, probes and metrics."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import prometheus_client
from aiohttp import web

from inferno_proxy.discovery.registration_service import RegistrationService
from inferno_proxy.identity.gate import Gate
from inferno_proxy.metrics.page import MetricsPage
from inferno_proxy.services.fleet_inference import FleetInference
from inferno_proxy.services.guard import action_of
from inferno_proxy.services.inference_service import one_node_only
from inferno_proxy.services.mesh_json import MeshJson
from inferno_proxy.services.message_json import as_json, error_json
from inferno_proxy.services.register_json import parse_announcement
from inferno_runtime import logs
from inferno_runtime.errors import Broken, Exhausted, InfernoError, InvalidInput, NotFound, Unavailable, Unsupported
from inferno_runtime.identity.caller import Caller, caller_from

_LOG = logs.get("rest")
_LARGEST_BODY = 4 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rest:
    """Translates between HTTP and what answers for the fleet."""

    def __init__(
        self,
        fleet: FleetInference,
        registration: RegistrationService,
        metrics: MetricsPage,
        gate: Gate,
        mesh: MeshJson,
    ) -> None:
        self._fleet = fleet
        self._registration = registration
        self._metrics = metrics
        self._gate = gate
        self._mesh = mesh

    def application(self) -> web.Application:
        """The routes, for a runner."""
        app = web.Application(middlewares=[_errors, self._guard], client_max_size=_LARGEST_BODY)
        app.router.add_get("/v2", self._metadata)
        app.router.add_get("/v2/health/live", self._live)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_post("/v2/repository/index", self._index)
        app.router.add_post("/v2/repository/models/{model}/{action:load|unload}", self._control)
        for path in ("/v2/models/stats", "/v2/models/{model}/stats", "/v2/models/{model}/versions/{version}/stats"):
            app.router.add_get(path, self._statistics)
        for path in ("/v2/systemsharedmemory/{rest:.*}", "/v2/cudasharedmemory/{rest:.*}"):
            app.router.add_route("*", path, _refuse("shared memory"))
        for path in ("/v2/trace/setting", "/v2/models/{model}/trace/setting"):
            app.router.add_route("*", path, _refuse("trace settings"))
        app.router.add_route("*", "/v2/logging", _refuse("log settings"))
        app.router.add_route("*", "/v2/models/{model}{rest:(/.*)?}", self._model)
        app.router.add_post("/register", self._register)
        app.router.add_delete("/register/{node_id}", self._deregister)
        self._mesh.add_to(app)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._prometheus)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        action = action_of(request.path)
        if action is not None:
            self._gate.admit(_caller(request), action)
        return await handler(request)

    async def _metadata(self, request: web.Request) -> web.Response:
        return web.json_response(as_json(self._fleet.metadata()))

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _ready(self, request: web.Request) -> web.Response:
        # Triton's own way to say "not ready" is an empty 400.
        return web.Response(status=200 if self._fleet.ready else 400)

    async def _index(self, request: web.Request) -> web.Response:
        only_ready = (await _object(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise InvalidInput("'ready' is not true or false.", reason="MALFORMED_REQUEST", metadata={"field": "ready"})
        index = self._fleet.index(only_ready=only_ready)
        # As Triton does, without the fields that say nothing.
        return web.json_response([{k: v for k, v in as_json(one).items() if v} for one in index.models])

    async def _control(self, request: web.Request) -> web.Response:
        parameters = (await _object(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidInput(
                "'parameters' is not an object.", reason="MALFORMED_REQUEST", metadata={"field": "parameters"}
            )
        act = self._fleet.load if request.match_info["action"] == "load" else self._fleet.unload
        await act(request.match_info["model"], parameters, _caller(request))
        return web.Response()

    async def _statistics(self, request: web.Request) -> web.Response:
        found = await self._fleet.statistics(request.match_info.get("model", ""), request.match_info.get("version", ""))
        headers = {"inferno-missing-nodes": ",".join(found.missing)} if found.missing else {}
        return web.json_response(as_json(found.response), headers=headers)

    async def _model(self, request: web.Request) -> web.Response:
        self._fleet.refuse_model(request.match_info["model"])

    async def _register(self, request: web.Request) -> web.Response:
        announced = await self._registration.announce(parse_announcement(await request.read()), _caller(request))
        return web.json_response(
            {
                "node_id": announced.node_id,
                "incarnation": announced.incarnation,
                "lease_duration": f"{announced.duration:g}s",
            }
        )

    async def _deregister(self, request: web.Request) -> web.Response:
        node_id, given = request.match_info["node_id"], request.query.get("incarnation")
        if given is not None and not (given.isascii() and given.isdigit()):
            raise InvalidInput(
                f"incarnation {given[:64]!r} is not a number.",
                reason="MALFORMED_REQUEST",
                metadata={"field": "incarnation"},
            )
        incarnation = int(given) if given else None
        ended = self._registration.deregister(node_id, incarnation, _caller(request))
        return web.json_response({"node_id": node_id, "incarnation": ended})

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        if not self._fleet.ready:
            raise Unavailable(
                "No node serves any model.", reason="NOT_SERVING", fix="See: inferno status.", retry_after=1
            )
        return web.json_response({"status": "ok"})

    async def _prometheus(self, request: web.Request) -> web.Response:
        return web.Response(
            body=await self._metrics.text(),
            headers={"content-type": prometheus_client.CONTENT_TYPE_LATEST},
        )


def _refuse(what: str) -> Handler:
    async def refuse(_: web.Request) -> web.StreamResponse:
        raise one_node_only(what)

    return refuse


def _caller(request: web.Request) -> Caller:
    return caller_from({name.lower(): value for name, value in request.headers.items()})


async def _object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body counts as one without fields."""
    body = await request.read()
    try:
        document = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The body is not valid JSON: {error}.", reason="MALFORMED_REQUEST") from error
    if not isinstance(document, dict):
        raise InvalidInput("The body is not a JSON object.", reason="MALFORMED_REQUEST")
    return document


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in Triton's JSON form, with our reason beside it."""
    try:
        return await handler(request)
    except InfernoError as error:
        return _answer(error)
    except web.HTTPException as error:
        return _answer(_from_http(request, error), error.status, error.headers.get("allow", ""))
    except Exception as error:  # noqa: BLE001 - a defect must not leave the caller without an answer
        _LOG.error("handler failed", path=request.path, exc_info=error)
        return _answer(Broken("The request failed inside Inferno.", reason="INTERNAL", fix="Its log has the cause."))


def _from_http(request: web.Request, error: web.HTTPException) -> InfernoError:
    """What aiohttp itself raises here: 404, 405, and 413 for a body that is too large."""
    if error.status == 404:
        return NotFound(f"Nothing is served at {request.path}.", reason="NO_SUCH_PATH")
    if error.status == 405:
        return Unsupported(f"{request.path} does not take {request.method}.", reason="METHOD_NOT_ALLOWED")
    return Exhausted(f"The body is larger than {_LARGEST_BODY} bytes.", reason="BODY_TOO_LARGE")


def _answer(error: InfernoError, status: int | None = None, allow: str = "") -> web.Response:
    headers = {"retry-after": str(max(1, round(error.retry_after)))} if error.retry_after is not None else {}
    if allow:
        headers["allow"] = allow
    return web.json_response(error_json(error), status=status or error.http_status, headers=headers)
