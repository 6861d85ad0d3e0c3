from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import FleetView, Member, Phase, Source
from inferno_proxy.routing.aliases import Alias, in_force, no_aliases, parse_alias, report_taken, stands_for
from inferno_proxy.settings import ProxySettings
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.latest import Latest
from inferno_runtime.settings import load
from tests.unit.inferno_proxy.nodes import model, node
from tests.waiting import eventually

CHAT = {"chat": Alias("m"), "other": Alias("m", "2")}


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("m", Alias("m")),
        ("m@2", Alias("m", "2")),
        ("me@home", Alias("me@home")),
        ("a@1@2", Alias("a@1", "2")),
        ("m@", Alias("m@")),
        ("m@²", Alias("m@²")),
        ("m@" + "9" * 20, Alias("m@" + "9" * 20)),
    ],
)
def test_an_alias_is_a_model_with_or_without_a_version(text: str, alias: Alias) -> None:
    assert parse_alias(text) == alias
    assert str(alias) == text


def test_a_model_comes_before_an_alias_of_its_name() -> None:
    assert in_force(CHAT, ["m", "chat"]) == {"other": Alias("m", "2")}
    assert stands_for("chat", CHAT, ["m", "chat"]) == Alias("chat")
    assert stands_for("chat", CHAT, ["m"]) == Alias("m")
    assert stands_for("x", no_aliases(), ["m"]) == Alias("x")


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ({"aliases": {"a": "b", "b": "m"}}, "an alias itself"),
        ({"aliases": {"a": "a"}}, "an alias itself"),
        ({"aliases": {"a": ""}}, "stands for no model"),
        ({"aliases": {"a": "m\n"}}, "stands for no model"),
        ({"aliases": {"a": "é" * 200}}, "stands for no model"),
        ({"aliases": {"a": "m"}, "models": {"a": {"retries": 1}}}, "treated as models says of 'm'"),
        ({"aliases": {"a b": "m"}}, "aliases"),
        ({"aliases": {"a" * 129: "m"}}, "aliases"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused(proxy: Mapping[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        load(ProxySettings, flags=dict(proxy))


async def test_an_alias_that_a_model_takes_is_an_event_and_so_is_its_return() -> None:
    def fleet(*models: str) -> FleetView:
        named = node(models=tuple(map(model, models)))
        return FleetView(1, {"n": Member(named, Phase.SERVING, Source.AGENT, 0.0)})

    view, events = Latest(fleet("m")), EventLog(ManualClock())
    task = asyncio.create_task(report_taken(lambda: CHAT, view, events))
    for models, kinds in ((("m", "chat"), 1), (("m",), 2)):
        view.set(fleet(*models))
        await eventually(lambda: len(events.kept) == kinds, 1, "it is told")  # noqa: B023 - awaited here
    task.cancel()
    assert [(event.kind, event.subject) for event in events.kept] == [("ALIAS_TAKEN", "chat"), ("ALIAS_BACK", "chat")]
    assert events.kept[0].message == "The fleet has a model 'chat': its alias to m does not hold."
