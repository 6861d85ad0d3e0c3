from __future__ import annotations

import asyncio
from pathlib import Path

from inferno_proxy.identity.proxy_identity import ProxyIdentity
from inferno_runtime.clock import ManualClock
from inferno_runtime.identity.authority import PROXY_HOST, Authority
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.preflight import check_identity
from tests.certificates import DOMAIN, NOW, authority, identity, issued

NAME = MeshName(DOMAIN, Role.PROXY, "a")


def made(folder: Path, clock: ManualClock, by: Authority, *hosts: str, seconds: float = 86_400) -> ProxyIdentity:
    return ProxyIdentity(by, IdentityFolder(folder), NAME, hosts, clock, seconds)


async def test_it_is_made_once_and_for_every_name_of_the_proxy(tmp_path: Path) -> None:
    clock, ca = ManualClock(wall=NOW), authority()
    first = made(tmp_path, clock, ca, "10.0.0.7", "proxy.example", "0:0::1").renew()
    assert set(first.names) == {str(NAME), PROXY_HOST, "proxy.example", "10.0.0.7", "::1"}
    assert made(tmp_path, clock, ca, "::1", "10.0.0.7", "proxy.example").renew() == first
    assert check_identity(IdentityFolder(tmp_path), NOW) == first


async def test_other_hosts_another_authority_and_a_damaged_file_make_a_new_one(tmp_path: Path) -> None:
    clock, ca = ManualClock(wall=NOW), authority()
    serials = {made(tmp_path, clock, ca).renew().serial, made(tmp_path, clock, ca, "10.0.0.7").renew().serial}
    other = authority()
    serials.add(made(tmp_path, clock, other, "10.0.0.7").renew().serial)
    IdentityFolder(tmp_path).certificate.write_bytes(b"garbage")
    serials.add(made(tmp_path, clock, other, "10.0.0.7").renew().serial)
    identity(tmp_path, other, issued(authority(), "proxy/a", PROXY_HOST, "10.0.0.7"))
    serials.add(made(tmp_path, clock, other, "10.0.0.7").renew().serial)
    assert len(serials) == 5


async def test_it_is_renewed_at_half_its_life_for_as_long_as_the_proxy_runs(tmp_path: Path) -> None:
    clock, folder = ManualClock(wall=NOW), IdentityFolder(tmp_path)
    kept = made(tmp_path, clock, authority(), seconds=1000)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(kept.run())
        await clock.advance(449)
        first = check_identity(folder, clock.wall())
        for _ in range(10):
            await clock.advance(110)
            assert check_identity(folder, clock.wall()).not_after - clock.wall() >= 440
        assert check_identity(folder, clock.wall()).serial != first.serial
        running.cancel()


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    clock = ManualClock(wall=NOW)
    (tmp_path / "current.new").mkdir()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made(tmp_path, clock, authority()).run())
        await clock.advance(1)
        assert not IdentityFolder(tmp_path).exists
        (tmp_path / "current.new").rmdir()
        await clock.advance(60)
        assert check_identity(IdentityFolder(tmp_path), clock.wall()).label == str(NAME)
        running.cancel()
