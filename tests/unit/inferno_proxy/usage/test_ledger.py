from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inferno.governance.v1.telemetry_pb2 import TelemetryBatch
from inferno_proxy.resources.usage_stats import ASKED
from inferno_proxy.usage.counts import Counter, Who
from inferno_proxy.usage.ledger import Ledger, Named

MINUTE = 60_000_000
NOON = 29_000_000 * MINUTE


def named(who: Who) -> Named:
    return Named(who.node, who.model, "1", who.client, who.client)


def counter(client: str) -> Counter:
    return Counter(ASKED, "model m", client, "n", "OK", "200", "0")


def taken(ledger: Ledger, at: int, life: str = "one", **shown: int) -> None:
    ledger.turn(at)
    ledger.take(life, {counter(client): value for client, value in shown.items()}, named)


def requests(batch: bytes) -> int:
    return sum(each.requests.requests for each in TelemetryBatch.FromString(batch).samples)


def again(ledger: Ledger) -> Ledger:
    """The ledger of a process that starts with its document."""
    return Ledger.of(json.loads(json.dumps(ledger.document())))


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.sampled_from(["one", "two"]), st.sampled_from("abc"), st.integers(1, 9)),
        st.sampled_from([("seal",), ("acknowledge",), ("restart",), ("wait",)]),
    ),
    max_size=40,
)


@given(_STEPS)
def test_every_request_is_in_one_batch_whatever_is_restarted(steps: list[tuple[object, ...]]) -> None:
    ledger, now = Ledger(7), NOON
    shown: dict[str, dict[str, int]] = {"one": {}, "two": {}}
    stored: dict[int, bytes] = {}
    for step in steps:
        now += 1_000_000
        if step[0] == "count":
            _, life, client, more = step
            shown[str(life)][str(client)] = shown[str(life)].get(str(client), 0) + int(str(more))
            taken(ledger, now, str(life), **shown[str(life)])
        elif step[0] == "seal" and (batch := ledger.seal("proxy")) is not None:
            # One that comes again is the same.
            assert stored.setdefault(batch.sequence, batch.batch) == batch.batch
        elif step[0] == "acknowledge" and ledger.sealed is not None and ledger.sealed.sequence in stored:
            ledger.acknowledge(ledger.sealed.sequence)
        elif step[0] == "restart":
            ledger = again(ledger)
        else:
            now += MINUTE
    while (batch := ledger.seal("proxy")) is not None:
        stored[batch.sequence] = batch.batch
        ledger.acknowledge(batch.sequence)
    assert sum(map(requests, stored.values())) == sum(value for each in shown.values() for value in each.values())
    assert list(stored) == list(range(1, len(stored) + 1))


def test_what_is_asked_in_one_minute_waits_as_one_entry_within_it() -> None:
    ledger = Ledger(7)
    taken(ledger, NOON + 1_000_000, a=1)
    taken(ledger, NOON + 5_000_000, a=3)
    taken(ledger, NOON + MINUTE + 2_000_000, a=4)
    batch = ledger.seal("proxy")
    assert batch is not None
    wire = TelemetryBatch.FromString(batch.batch)
    assert [each.requests.requests for each in wire.samples] == [3, 1]
    assert wire.samples[0].time.ToMicroseconds() == NOON + 5_000_000
    assert wire.samples[1].window.ToMicroseconds() == 2_000_000
    assert (wire.node_id, wire.incarnation, wire.sequence, wire.samples[0].requests.key) == ("proxy", 7, 1, "a")


def test_what_is_read_as_a_minute_ends_is_of_that_minute_and_after_an_absence_of_the_last() -> None:
    ledger = Ledger(7)
    taken(ledger, NOON + 58_000_000, a=1)
    taken(ledger, NOON + MINUTE + 4_000, a=3)
    taken(ledger, NOON + MINUTE + 3_000_000, a=4)
    taken(ledger, NOON + 9 * MINUTE + 2_000_000, a=9)
    batch = ledger.seal("proxy")
    assert batch is not None
    samples = TelemetryBatch.FromString(batch.batch).samples
    assert [each.requests.requests for each in samples] == [3, 1, 5]
    ends = [each.time.ToMicroseconds() - NOON for each in samples]
    assert ends == [MINUTE, MINUTE + 3_000_000, 9 * MINUTE + 2_000_000]
    assert all(each.window.ToMicroseconds() > 0 for each in samples)


def test_the_oldest_entry_goes_when_there_is_no_room_and_is_counted() -> None:
    ledger = Ledger(7, most=2)
    taken(ledger, NOON, a=1, b=1, c=1)
    batch = ledger.seal("proxy")
    assert batch is not None
    wire = TelemetryBatch.FromString(batch.batch)
    assert ([each.requests.key for each in wire.samples], wire.dropped_samples) == (["b", "c"], 1)


def test_a_batch_that_will_never_be_taken_is_counted_as_dropped() -> None:
    ledger = Ledger(7)
    taken(ledger, NOON, a=1)
    ledger.seal("proxy")
    ledger.give_up()
    assert (ledger.dropped, ledger.sealed, ledger.seal("proxy")) == (1, None, None)


def test_what_an_older_version_kept_is_read_without_what_it_did_not_count() -> None:
    ledger = Ledger(7)
    document = ledger.document()
    document["waiting"] = [[3, ["n", "m", "1", "red", "k"], 1, 2, [4, 0, 0, 0, 900, [0] * 16]]]
    kept: Any = Ledger.of(document).document()["waiting"]
    assert [counts for *_, counts in kept] == [(4, 0, 0, 0, 900, 0, 0, 0, 0, (0,) * 16)]
