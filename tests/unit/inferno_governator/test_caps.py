from __future__ import annotations

from inferno_governator.cap_service import encode
from inferno_governator.caps import MOST, Cap, Caps


async def test_nobody_is_told_anything_before_caps_are_known() -> None:
    caps = Caps()
    caps.close()
    assert [told async for told in caps.watch()] == []


async def test_whoever_watches_is_told_of_every_change_until_the_end() -> None:
    caps, one = Caps(), Cap("team", "", "", 9, "spent")
    caps.set([one, one])
    told = caps.watch()
    assert await anext(told) == (one,)
    caps.set([])
    assert await anext(told) == ()
    caps.close()
    assert [more async for more in told] == []


async def test_no_more_are_told_than_a_proxy_takes() -> None:
    caps = Caps()
    caps.set(Cap(f"{number}", "", "", 9, "") for number in range(MOST + 1))
    assert len(await anext(caps.watch())) == MOST


def test_a_long_reason_is_cut_between_two_letters() -> None:
    assert encode(Cap("", "", "", 9, "é" * 101)).reason == "é" * 100
