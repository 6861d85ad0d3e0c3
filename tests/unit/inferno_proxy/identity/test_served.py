"""The operator's certificate: copied when it proves good, and left as it was when it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inferno_proxy.events import EventLog
from inferno_proxy.identity.served import Files, ServedCertificate
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import own_certificate
from tests.certificates import NOW, authority, issued, written
from tests.waiting import eventually


class World:
    def __init__(self, folder: Path, *, seconds: float = 86_400) -> None:
        self.ca = authority()
        self.given = folder / "given"
        self.given.mkdir()
        files = written(self.given, issued(self.ca, "", "a.example", seconds=seconds))
        self.ca_file = self.given / "clients.pem"
        self.ca_file.write_bytes(self.ca.trusted)
        self.clock = ManualClock(wall=NOW + 1)
        self.folder = IdentityFolder(folder / "served")
        self.served = ServedCertificate(Files(files.certificate, files.key, self.ca_file), self.folder, self.clock)
        self.events = EventLog(self.clock)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.kept]


def test_what_proves_good_is_copied_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.served.ends == 0
    assert world.served.take()
    assert not world.served.take()
    assert world.folder.certificate.read_bytes() == (world.given / "certificate.pem").read_bytes()
    assert world.folder.authority.read_bytes() == world.ca.trusted
    assert own_certificate(world.folder).path.exists()
    assert world.served.ends == NOW + 86_400


def test_a_certificate_without_a_ca_for_clients_is_copied_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    files = Files(world.given / "certificate.pem", world.given / "key.pem")
    assert ServedCertificate(files, world.folder, world.clock).take()
    assert world.folder.authority.read_bytes() == b""


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda w: (w.given / "key.pem").write_bytes(issued(w.ca, "", "b.example").key), "KEY_MISMATCH"),
        (lambda w: (w.given / "key.pem").chmod(0o644), "KEY_EXPOSED"),
        (lambda w: (w.given / "key.pem").unlink(), "FILE_UNREADABLE"),
        (lambda w: w.ca_file.write_bytes(issued(w.ca, "", "b.example").certificate), "NOT_AN_AUTHORITY"),
    ],
    ids=["another key", "a key for all", "no key", "no CA"],
)
def test_what_is_no_good_leaves_the_copy_as_it_was(tmp_path: Path, damage: object, reason: str) -> None:
    world = World(tmp_path)
    world.served.take()
    before = world.folder.certificate.read_bytes()
    assert callable(damage)
    damage(world)
    with pytest.raises(InvalidInput) as refused:
        world.served.take()
    assert refused.value.reason == reason
    assert world.folder.certificate.read_bytes() == before


async def test_a_change_is_followed_and_a_bad_one_refused_with_an_event(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.served.take()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(world.served.run(world.events))
        await eventually(lambda: world.clock.sleepers, 5, "it looks at the files again and again")
        good = issued(world.ca, "", "a.example")
        (world.given / "certificate.pem").write_bytes(good.certificate)
        await eventually(lambda: _turn(world, "CERTIFICATE_REFUSED"), 5, "a certificate without its key is refused")
        (world.given / "key.pem").write_bytes(good.key)
        await eventually(lambda: _turn(world, "CERTIFICATE_CHANGED"), 5, "the pair is taken")
        running.cancel()
    assert world.kinds() == ["CERTIFICATE_REFUSED", "CERTIFICATE_CHANGED"]
    assert "does not belong to the certificate" in world.events.kept[0].message
    assert world.folder.certificate.read_bytes() == good.certificate


async def test_the_end_is_told_of_once_a_day_before_it_comes(tmp_path: Path) -> None:
    world = World(tmp_path, seconds=10 * 86_400)
    world.served.take()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(world.served.run(world.events))
        await eventually(lambda: world.clock.sleepers, 5, "it looks at the files again and again")
        assert world.kinds() == []
        world.clock.jump_wall(8.5 * 86_400)
        await eventually(lambda: _turn(world, "CERTIFICATE_EXPIRES"), 5, "it is told")
        running.cancel()
    assert world.kinds() == ["CERTIFICATE_EXPIRES"]
    assert "ends 2023-11-24" in world.events.kept[0].message


async def _turn(world: World, kind: str) -> bool:
    await world.clock.advance(0.25)
    return kind in world.kinds()
