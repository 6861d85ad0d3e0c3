"""Where the secrets of a mesh are found after they were used: with their owners, and nowhere else."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import aiohttp
import grpc
import psutil
from cryptography.hazmat.primitives.asymmetric import ec

from inferno_backend.membership import Membership
from inferno_proxy.envoy import admin
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import Unauthenticated
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.join_token import JoinToken
from tests.integration.inferno_proxy.secured import Running, running, secured
from tests.integration.inferno_proxy.signed_tokens import token
from tests.waiting import eventually

# What is written there by mistake: a key that nobody has.
WRONG = "inf_somebody_typed_this_by_mistake"


def holders(folder: Path, secrets: Iterable[bytes]) -> list[str]:
    """The files below a folder that hold a secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(each.relative_to(folder)) for each in files if held(each.read_bytes(), secrets))


def held(text: bytes, secrets: Iterable[bytes]) -> bool:
    return any(each in text for each in secrets)


async def join(mesh: Running, given: Path, spelled: str) -> None:
    file = given / "join"
    file.write_text(f"{spelled}\n")
    file.chmod(0o600)
    address = f"127.0.0.1:{mesh.made.mesh_port}"
    member = Membership(IdentityFolder(given / "member"), "gpu-7", (address,), file, SystemClock(), lambda: 0.5)
    member.begin()
    await member.join()


async def pages(mesh: Running) -> dict[str, bytes]:
    """Everything that a running proxy shows of itself."""
    (socket,) = mesh.made.data.glob("*-admin-*.sock")
    shown = {}
    for page in ("/config_dump?include_eds", "/certs", "/clusters", "/listeners", "/stats", "/server_info"):
        status, shown[page] = await admin.fetch(socket, page, within=5)
        assert status == 200
    context = ssl.create_default_context(cafile=str(mesh.made.given / "ca.pem"))
    header = {"authorization": f"Bearer {mesh.made.keys['boss']}"}
    async with aiohttp.ClientSession(mesh.options[1], headers=header) as session:
        for page in ("/metrics", "/mesh/v1/clients", "/mesh/v1/events", "/mesh/v1/audit"):
            async with session.get(page, ssl=context) as answer:
                assert answer.status == 200, page
                shown[page] = await answer.read()
    process = psutil.Process(mesh.proxy.process.pid)
    for each in (process, *process.children(recursive=True)):
        shown[f"command line of {each.pid}"] = " ".join(each.cmdline()).encode()
        shown[f"environment of {each.pid}"] = str(each.environ()).encode()
    return shown


async def test_no_secret_is_kept_shown_or_logged(socket_dir: Path, tmp_path: Path) -> None:
    ended, forged = token(exp=1), token(ec.generate_private_key(ec.SECP256R1()))
    async with secured(tmp_path, socket_dir) as made:
        async with running(made) as mesh:
            await eventually(partial(mesh.ends, "m", made.keys["team"], grpc.StatusCode.OK), 5, "calls pass")
            good = token()
            assert await mesh.ends("m", good, grpc.StatusCode.OK)
            for wrong in (WRONG, ended, forged):
                assert await mesh.ends("m", wrong, grpc.StatusCode.UNAUTHENTICATED)
            created = await made.inferno("token", "create", "--name", "gpu-*", *mesh.as_client("boss"))
            joined = created.stdout.strip()
            guessed = str(JoinToken.make(JoinToken.parse(joined).pin))
            try:
                await join(mesh, tmp_path, guessed)
            except Unauthenticated:
                await join(mesh, tmp_path, joined)
            shown = await pages(mesh)
            assert len([each for each in shown if each.startswith("command line")]) >= 3
        secrets = [each.encode() for each in (*made.keys.values(), WRONG, good, ended, forged)]
        # Of a join token the part that nobody may guess; its id is in the audit log.
        secrets += [each.split(".")[2].encode() for each in (joined, guessed)]
        files = (*socket_dir.rglob("*.pem"), *tmp_path.rglob("*.pem"))
        keys = [path for path in files if b"PRIVATE" in path.read_bytes()]
        private = [line for path in keys for line in path.read_bytes().splitlines()[1:2]]
        assert len(private) >= 4  # the public port's, its copy, the CA's, the proxy's own, the new member's
        assert not [name for name, text in shown.items() if held(text, [*secrets, *private])]
        # What Envoy was last sent lies there too, and what it starts from without a control plane.
        assert (socket_dir / "last-good-envoy.snapshot").exists()
        assert any(socket_dir.glob("standby-*"))
        # What a line of a log may hold: which client it was.
        assert b"team" in made.log.read_bytes()
        assert holders(tmp_path, secrets) == ["boss.key", "join", "team.key"]
        assert holders(socket_dir, secrets) == []
        assert {each.stat().st_mode & 0o777 for each in keys} == {0o600}
        named = {str(each.relative_to(socket_dir)) for each in keys if each.is_relative_to(socket_dir)}
        assert set(holders(socket_dir, private)) == named
        assert holders(tmp_path, private) == ["key.pem", "member/1/key.pem"]
