"""What the proxies want, put together."""

from __future__ import annotations

from inferno_backend.registration import ProxyView
from inferno_backend.steering import applied, drained_by


def test_one_proxy_is_enough_for_a_drain() -> None:
    views = {"b": ProxyView(drain=True), "a": ProxyView(), "c": ProxyView(drain=True)}
    assert drained_by(views) == ("b", "c")
    assert drained_by({"a": ProxyView()}) == ()


def test_only_connected_proxies_are_waited_for() -> None:
    behind, ahead = ProxyView(connected=True, applied_revision=3), ProxyView(connected=True, applied_revision=5)
    lost = ProxyView(connected=False, applied_revision=0)
    assert applied([ahead, lost], 5)
    assert not applied([ahead, behind], 5)
    assert applied([], 5)
