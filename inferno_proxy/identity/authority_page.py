"""``GET /identity/authority``: the mesh's CA for whoever has no certificate yet, and checks the pin of its token."""

from __future__ import annotations

from aiohttp import web

from inferno_proxy.identity.mesh_authority import MeshAuthority

PATH = "/identity/authority"


def serve_authority(application: web.Application, authority: MeshAuthority) -> web.Application:
    """Add the page to the control plane's HTTP, and return that."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=authority.known().trusted, content_type="application/x-pem-file")

    application.router.add_get(PATH, page)
    return application
