"""Settings read again: what changes, what stays, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Address
from inferno_proxy.orders.order import EMPTY, Book, Kind, Order, with_order, without
from inferno_proxy.reloading.reload import Comparison, Refused, Reloader, compare, mixed
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver, Origin
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InfernoError, InvalidInput, Unavailable
from inferno_runtime.latest import Latest
from tests.unit.inferno_runtime.hurry import HurriedClock
from tests.waiting import eventually

NOWHERE: Mapping[str, str] = {}


class World:
    """A settings file that is read again, and what came of that."""

    def __init__(self, folder: Path, text: str, orders: Book = EMPTY) -> None:
        self.file = folder / "inferno.yaml"
        self.file.write_text(text, encoding="utf-8")
        self.events = EventLog(ManualClock())
        self.tried: list[tuple[ProxySettings, Comparison]] = []
        self.taken: list[ProxySettings] = []
        self.plan = folder / "plan.json"
        self.harmful: set[tuple[str, ...]] = set()
        self.no_good: InfernoError | None = None
        origin = Origin(self.file, {"port": 0})
        self.handed = HandOver(origin.read(NOWHERE).value, Address("127.0.0.1", 8080), origin)
        self.reloader = Reloader(
            self.handed,
            self.events,
            rehearse=self.rehearse,
            put=self.taken.append,
            keep=lambda fresh: fresh.write(self.plan),
            env=NOWHERE,
            orders=orders,
        )

    async def rehearse(self, before: ProxySettings, comparison: Comparison) -> None:
        self.tried.append((before, comparison))
        if self.no_good:
            raise self.no_good
        for change in comparison.changed:
            if change.keys in self.harmful:
                raise Refused(change, "it crashes Envoy")

    def has_said(self, count: int) -> bool:
        return len(self.events.kept) == count

    async def edit(self, text: str) -> str:
        """Change the file and have it read; the sentence of the event that follows."""
        self.file.write_text(text, encoding="utf-8")
        await self.reloader.again()
        return self.events.kept[-1].message


@asynccontextmanager
async def following(world: World) -> AsyncIterator[None]:
    """The file is looked at without a pause worth mentioning."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.reloader.follow(HurriedClock()))
        yield
        task.cancel()


def test_what_can_change_changes_and_what_cannot_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("proxy:\n  region: a\n  max_nodes: 5\n  models:\n    m: {retries: 1}\n    n: {retries: 2}\n")
    before = Origin(file).read(NOWHERE).value
    file.write_text("proxy:\n  region: a\n  max_nodes: 6\n  models:\n    m: {retries: 1}\n    o: {retries: 2}\n")
    found = compare(before, Origin(file).read(NOWHERE))
    assert found.sentence() == (
        f"Changed: proxy.models.n ({file}:4), proxy.models.o ({file}:6). "
        f"Not before the next start: proxy.max_nodes ({file}:3)."
    )
    assert (found.settings.max_nodes, set(found.settings.models)) == (5, {"m", "o"})


def test_the_same_settings_change_nothing(tmp_path: Path) -> None:
    loaded = Origin(None, {"region": "a"}).read(NOWHERE)
    assert compare(loaded.value, loaded).sentence() == "Nothing changed."


def test_a_default_that_is_said_of_a_model_is_a_change_where_every_model_has_something_else(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("proxy:\n  models:\n    '*': {retries: 1}\n    m: {timeout: 1}\n")
    before = Origin(file).read(NOWHERE).value
    file.write_text("proxy:\n  models:\n    '*': {retries: 1}\n    m: {timeout: 1, retries: 3}\n")
    assert compare(before, Origin(file).read(NOWHERE)).sentence() == f"Changed: proxy.models.m ({file}:4)."


def test_a_setting_that_is_left_out_returns_to_its_default() -> None:
    before = Origin(None, {"region": "a"}).read(NOWHERE).value
    found = compare(before, Origin().read(NOWHERE))
    assert (found.settings.region, found.sentence()) == ("", "Changed: proxy.region.")


async def test_changed_settings_are_taken_over_and_kept_for_the_next_life(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    assert await world.edit("proxy: {region: b, models: {m: {retries: 1}}}\n") == (
        f"Changed: proxy.region ({world.file}:1), proxy.models.m ({world.file}:1)."
    )
    assert [each.region for each in world.taken] == ["b"]
    assert (world.reloader.where("m"), world.reloader.where("n")) == (f"{world.file}:1", f"{world.file}:1")
    kept = HandOver.read(world.plan)
    assert (kept.settings, kept.listen) == (world.taken[0], Address("127.0.0.1", 8080))
    assert kept.settings.model_fields_set == world.taken[0].model_fields_set
    assert kept.origin.read(NOWHERE).value == world.taken[0]
    assert world.plan.stat().st_mode & 0o777 == 0o600


async def test_a_file_with_a_mistake_changes_nothing_and_its_line_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    said = await world.edit("proxy:\n  region: b\n  models:\n    m: {retries: many}\n")
    assert f"{world.file}:4: proxy.models.m.retries" in said
    assert said.endswith("those of before stay in force.")
    assert (world.taken, world.plan.exists(), world.events.counts) == ([], False, {"CONFIG_REFUSED": 1})
    await world.edit("proxy: {region: a}\n")
    assert world.events.kept[-1].message == "Nothing changed."


async def test_a_file_that_is_no_text_or_gone_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    world.file.write_bytes(b"\xff\xfe\x00")
    await world.reloader.again()
    world.file.write_text("proxy: {region: '\x07'}\n")
    await world.reloader.again()
    world.file.unlink()
    await world.reloader.again()
    assert (world.taken, world.events.counts) == ([], {"CONFIG_REFUSED": 3})


async def test_settings_that_prove_no_good_are_compared_again_with_those_in_force(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    world.harmful = {("region",)}
    said = await world.edit("proxy: {region: b}\n")
    assert (
        f"{world.file}:1: proxy.region: it crashes Envoy. Correct it: the file is read again once it has changed"
        in said
    )
    world.harmful = set()
    assert await world.edit("proxy: {region: b}\n") == f"Changed: proxy.region ({world.file}:1)."


async def test_settings_that_cannot_be_kept_hold_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    world.plan = tmp_path / "no" / "plan.json"
    assert await world.edit("proxy: {region: b}\n") == f"Changed: proxy.region ({world.file}:1)."


async def test_each_hangup_reads_the_settings(tmp_path: Path) -> None:
    world, hangups = World(tmp_path, "proxy: {region: a}\n"), Latest(0)
    task = asyncio.create_task(world.reloader.run(hangups))
    await asyncio.sleep(0)
    for number in (1, 2):
        hangups.set(number)
        await eventually(partial(world.has_said, number), 5, "it is read")
    task.cancel()


async def test_a_file_that_changes_is_read_without_a_signal_and_each_content_once(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    await world.reloader.begin(ProxySettings(region="a"))
    async with following(world):
        fresh = tmp_path / "fresh.yaml"
        fresh.write_text("proxy: {region: b}\n", encoding="utf-8")
        fresh.replace(world.file)
        await eventually(partial(world.has_said, 1), 5, "the file is read")
        assert [each.region for each in world.taken] == ["b"]
        # Somebody sends a signal as well, and before it is noticed that the file has changed.
        assert await world.edit("proxy: {region: c}\n") == f"Changed: proxy.region ({world.file}:1)."
        world.file.write_text("proxy: {region: c}\n", encoding="utf-8")
        world.file.write_text("proxy: {region: [}\n", encoding="utf-8")
        await eventually(partial(world.has_said, 3), 5, "the mistake is named")
    assert [each.kind for each in world.events.kept] == ["CONFIG_RELOADED", "CONFIG_RELOADED", "CONFIG_REFUSED"]


async def test_a_file_that_changed_while_no_control_plane_was_there_is_read_at_the_start(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    world.file.write_text("proxy: {region: b}\n")
    await world.reloader.begin(ProxySettings(region="a"))
    async with following(world):
        await eventually(partial(world.has_said, 1), 5, "the file is read")
    assert [each.region for each in world.taken] == ["b"]


async def test_without_a_file_there_is_nothing_to_follow() -> None:
    handed = HandOver(ProxySettings(), Address("127.0.0.1", 8080))

    async def rehearse(before: ProxySettings, comparison: Comparison) -> None:
        raise AssertionError

    events = EventLog(ManualClock())
    reloader = Reloader(handed, events, rehearse=rehearse, put=print, keep=print, env=NOWHERE)
    await reloader.begin(ProxySettings())
    await reloader.follow(ManualClock())
    await reloader.again()
    assert [each.message for each in events.kept] == ["Nothing changed."]


def test_settings_of_the_environment_are_handed_over_without_a_file(tmp_path: Path) -> None:
    handed = HandOver(Origin().read({"INFERNO_PROXY_REGION": "r"}).value, Address("::1", 1))
    handed.write(tmp_path / "plan.json")
    assert HandOver.read(tmp_path / "plan.json") == handed


def test_some_of_the_changes_lead_part_of_the_way(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("proxy:\n  region: a\n  models:\n    m: {retries: 1}\n    n: {retries: 1}\n")
    before = Origin(file).read(NOWHERE).value
    file.write_text("proxy:\n  region: b\n  models:\n    m: {retries: 2}\n    o: {retries: 2}\n")
    found = compare(before, Origin(file).read(NOWHERE))
    assert mixed(before, found.settings, found.changed) == found.settings
    assert mixed(before, found.settings, ()) == before
    half = mixed(before, found.settings, found.changed[:2])
    assert (half.region, half.models["m"].retries, half.models["n"].retries) == ("b", 2, 1)
    assert set(half.models) == {"m", "n"}


async def test_settings_that_proved_good_before_are_not_tried_at_the_start(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a, max_nodes: 7}\n")
    await world.reloader.begin(ProxySettings(region="a"))
    assert (world.tried, world.taken, world.events.kept, world.plan.exists()) == ([], [], (), False)


async def test_new_settings_are_tried_at_the_start_and_kept(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    await world.reloader.begin(ProxySettings())
    ((before, comparison),) = world.tried
    assert (before.region, comparison.changed[0].told()) == ("", f"{world.file}:1: proxy.region")
    assert (world.taken, HandOver.proven(world.plan).region) == ([], "a")


async def test_what_is_no_good_at_the_start_stays_as_it_was_and_all_else_is_in_force(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a, zone: z, max_nodes: 7, models: {m: {retries: 1}, n: {retries: 1}}}\n")
    world.harmful = {("region",), ("models", "n")}
    await world.reloader.begin(ProxySettings(region="b"))
    (chosen,) = world.taken
    assert (chosen.region, chosen.zone, chosen.max_nodes, set(chosen.models)) == ("b", "z", 7, {"m"})
    assert HandOver.proven(world.plan) == chosen
    assert [each.message.partition(": it crashes Envoy")[0].partition("(")[2] for each in world.events.kept] == [
        f"{world.file}:1: proxy.region",
        f"{world.file}:1: proxy.models.n",
    ]


async def test_a_port_that_asks_who_calls_is_not_opened_by_a_setting_that_does_harm(tmp_path: Path) -> None:
    world = World(tmp_path, f'proxy: {{clients: {{team: {{keys: ["sha256:{"a" * 64}"]}}}}}}\n')
    world.harmful = {("clients", "team")}
    await world.reloader.begin(ProxySettings())
    assert world.taken == []
    assert "in force all the same" in world.events.kept[-1].message


async def test_a_port_of_a_network_stays_closed_when_its_clients_leave_the_file(tmp_path: Path) -> None:
    protected = "host: 0.0.0.0, tls_certificate: /c.pem, tls_key: /k.pem"
    clients = f'clients: {{team: {{keys: ["sha256:{"a" * 64}"]}}}}'
    world = World(tmp_path, f"proxy: {{{protected}, {clients}}}\n")
    said = await world.edit(f"proxy: {{{protected}}}\n")
    assert "would listen on 0.0.0.0 without authentication" in said
    assert world.taken == []


async def test_when_nothing_is_any_good_at_the_start_all_stays_as_it_was(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    world.harmful = {("region",)}
    await world.reloader.begin(ProxySettings(region="b"))
    assert [each.region for each in world.taken] == ["b"]


async def test_settings_that_cannot_be_tried_at_the_start_are_in_force_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {region: a}\n")
    world.no_good = Unavailable("No canary can run.", reason="CANARY_FAILED")
    await world.reloader.begin(ProxySettings())
    assert (world.taken, world.events.kept, world.plan.exists()) == ([], (), False)


async def test_a_file_that_changed_meanwhile_does_not_count_at_the_start(tmp_path: Path) -> None:
    for text in ("proxy: {region: z}\n", "proxy: [\n"):
        world = World(tmp_path, "proxy: {region: a}\n")
        world.file.write_text(text)
        await world.reloader.begin(ProxySettings())
        ((_, comparison),) = world.tried
        assert (comparison.settings.region, comparison.changed[0].told()) == ("a", "proxy.region")


def test_without_proven_settings_the_defaults_are(tmp_path: Path) -> None:
    assert HandOver.proven(tmp_path / "none.json") == ProxySettings()
    (tmp_path / "bad.json").write_text("{}")
    assert HandOver.proven(tmp_path / "bad.json") == ProxySettings()


LIMIT = Order(Kind.LIMIT, "m", "operator ada", 0.0, patch={"max_concurrency": 2})


def nothing() -> None:
    """What is done before an order takes effect."""


async def test_an_order_lies_over_the_file_and_stays_there_when_it_is_read_again(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {models: {m: {retries: 1}}}\n")
    await world.reloader.order(lambda book: with_order(book, LIMIT), nothing)
    ((before, comparison),) = world.tried
    assert (before.models["m"].max_concurrency, [str(each) for each in comparison.changed]) == (
        0,
        ["proxy.models.m (the limit of operator ada)"],
    )
    assert (world.taken[-1].models["m"].max_concurrency, world.plan.exists()) == (2, False)
    assert world.reloader.where("m") == "the limit of operator ada"
    assert await world.edit("proxy: {models: {m: {retries: 2, max_concurrency: 9}}}\n") == (
        f"Changed: proxy.models.m ({world.file}:1). "
        "Orders stay above them: m: operator ada ordered at most 2 calls under way."
    )
    assert (world.taken[-1].models["m"].retries, world.taken[-1].models["m"].max_concurrency) == (2, 2)
    assert HandOver.read(world.plan).settings.models["m"].max_concurrency == 9
    await world.reloader.order(lambda book: without(book, [LIMIT.key]), nothing)
    assert world.taken[-1].models["m"].max_concurrency == 9


async def test_an_order_that_does_harm_is_refused_before_it_is_noted(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {}\n")
    world.harmful = {("models", "m")}
    noted: list[str] = []

    def note() -> None:
        noted.append("done")

    with pytest.raises(InvalidInput, match=r"the limit of operator ada: proxy.models.m: it crashes Envoy") as refused:
        await world.reloader.order(lambda book: with_order(book, LIMIT), note)
    assert (refused.value.reason, noted, world.taken) == ("ORDER_REFUSED", [], [])


async def test_an_order_that_says_what_the_file_says_is_not_tried(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {models: {m: {max_concurrency: 2}}}\n")
    await world.reloader.order(lambda book: with_order(book, LIMIT), nothing)
    assert (world.tried, world.taken) == ([], [])


async def test_a_file_that_contradicts_an_order_is_refused_and_the_order_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, "proxy: {}\n")
    await world.reloader.order(lambda book: with_order(book, LIMIT), nothing)
    said = await world.edit("proxy: {aliases: {m: n}}\n")
    assert "With the limit of operator ada on 'm' (at most 2 calls under way): proxy: 'm' is an alias" in said
    assert "inferno mesh clear m takes it back" in said


async def test_orders_of_an_earlier_life_hold_and_those_that_fit_no_longer_are_dropped(tmp_path: Path) -> None:
    other = replace(LIMIT, subject="other")
    orders = with_order(with_order(EMPTY, LIMIT), other)
    world = World(tmp_path, "proxy: {aliases: {m: n}}\n", orders)
    assert await world.reloader.begin(world.handed.settings) == [LIMIT.key]
    (in_force,) = world.taken
    assert set(in_force.models) == {"other"}
    (event,) = world.events.kept
    assert (event.kind, event.subject) == ("ORDER_DROPPED", "m")
