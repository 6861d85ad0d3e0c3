"""The rows of the fault table that befall model servers, their machines and their load."""

from __future__ import annotations

from benchmarks.faults.agents import agents_killed, agents_killed_with_their_tritons
from benchmarks.faults.death import process_death, query_of_death
from benchmarks.faults.fault import LEARNING, TURNS, Fault
from benchmarks.faults.models import callers_give_up, deaf_callees, model_hangs, model_unloaded, model_unloaded_unseen
from benchmarks.faults.network import cut_off, grpc_dead, grpc_dead_unseen, packets_lost
from benchmarks.faults.notices import (
    CUT,
    LAST_CALL,
    STORED,
    notice_of_half_a_minute,
    notice_of_two_minutes,
    notice_unread,
)
from benchmarks.faults.overload import GOODPUT, REFUSAL, TRIES, UNLIMITED, browned_out, browned_out_unseen, overloaded
from benchmarks.faults.streams import BROKEN, streams_broken
from benchmarks.faults.tritons import (
    rolling_restart,
    triton_killed,
    triton_killed_at_work,
    triton_killed_unseen,
    triton_stopped,
    triton_terminated,
    two_of_three_killed,
    undrained_restart,
)
from benchmarks.faults.uneven import SLOWER, node_slow
from benchmarks.faults.upstream import node_fails_a_tenth, node_fails_always

ROWS: tuple[Fault, ...] = (
    Fault(
        1,
        "Triton kill -9",
        "0 failed, noticed in 0.1 s, back in 4 s + model load",
        triton_killed,
        proxyless=True,
        detect=0.1,
        recover=6,
        control=triton_killed_unseen,
        tested=("envoy", "proxyless"),
    ),
    Fault(
        2,
        "Triton kill -9 with 20 ms of work in flight",
        "0 failed",
        triton_killed_at_work,
        proxyless=True,
        control=triton_killed_unseen,
    ),
    Fault(
        4,
        "Triton SIGSTOP",
        "0 failed, noticed in 1 s, worst request 0.6 s (proxyless 1.5 s)",
        triton_stopped,
        proxyless=True,
        worst=0.6,
        detect=1,
        tested=("envoy", "proxyless"),
    ),
    Fault(
        5,
        "one node of three 10 times slower",
        "0 failed, p99 within twice the healthy one after 10 s",
        node_slow,
        ratio=2,
        config=LEARNING,
        control_config=TURNS,
        # The slow node's calls are among the slowest hundredth.
        bites=lambda measured: measured.report.p99 > SLOWER,
        tested=(),
    ),
    Fault(
        6,
        "10 % UNAVAILABLE from one node",
        "0 failed",
        node_fails_a_tenth,
        proxyless=True,
    ),
    Fault(
        7,
        "one node answers 100 % UNAVAILABLE",
        "0 failed, ejected within 0.2 s",
        node_fails_always,
        proxyless=True,
        detect=0.2,
    ),
    Fault(
        8,
        "half-open TCP: packets to and from one node are dropped",
        "0 failed, no more work sent there after 1 s",
        cut_off,
        detect=1,
        proxyless=True,
        tested=(),
    ),
    Fault(
        9,
        "10 % packet loss to and from one node",
        "0 failed",
        packets_lost,
        proxyless=True,
        # TCP brings everything in the end: without healing the calls are only late.
        bites=lambda measured: measured.report.slow > 0,
        tested=(),
    ),
    Fault(10, "Triton SIGTERM without drain", "0 failed", triton_terminated, proxyless=True),
    Fault(11, "rolling restart of every node", "0 failed", rolling_restart, proxyless=True, control=undrained_restart),
    Fault(
        12,
        "model unloaded on one node",
        "0 failed",
        model_unloaded,
        proxyless=True,
        control=model_unloaded_unseen,
    ),
    Fault(
        13,
        "agents die, Tritons live",
        "0 failed, shown as unmanaged, taken over by the agents that come next",
        agents_killed,
        proxyless=True,
        control=agents_killed_with_their_tritons,
    ),
    Fault(
        14,
        "model hangs while health checks are green",
        "0 failed, out of rotation within 2 s",
        model_hangs,
        proxyless=True,
        detect=2,
    ),
    Fault(28, "two of three nodes die and stay away", "0 failed", two_of_three_killed, proxyless=True),
    *(
        Fault(
            33,
            title,
            "0 failed, drained, running streams finished, the governator has it on disk within 2 s",
            scenario,
            detect=2,
            bounds={STORED: (0, 2), LAST_CALL: (0, 2), CUT: (0, 0)},
            control=notice_unread,
            spoils=True,
            tested=(),
        )
        for title, scenario in (
            ("a spot machine is taken back: notice of 120 s (EC2)", notice_of_two_minutes),
            (
                "a spot machine is taken back: notice of 30 s, its system shut down at once (GCP)",
                notice_of_half_a_minute,
            ),
        )
    ),
    Fault(
        34,
        "three times the calls the fleet can do",
        "goodput at least 90 % of what the fleet can do, the others refused within 5 ms",
        overloaded,
        lossless=False,
        bounds={GOODPUT: (0.9, 10), REFUSAL: (0, 0.005)},
        control_config=UNLIMITED,
        bites=lambda measured: measured.figures[GOODPUT] < 0.9,
        tested=(),
    ),
    Fault(
        35,
        "a stream's node dies under it",
        "its caller is told: never a clean end with answers missing (no stream is continued elsewhere)",
        streams_broken,
        bites=lambda measured: measured.report.statuses.get(BROKEN, 0) > 0,
        tested=(),
    ),
    Fault(
        36,
        "clients cancel, deadlines pass",
        "0 failed, work stops on the node within 0.5 s",
        callers_give_up,
        proxyless=True,
        recover=0.5,
        control=deaf_callees,
        bites=lambda measured: measured.recovered is None or measured.recovered > 1,
    ),
    Fault(
        39,
        "a model server's gRPC side is dead while its HTTP side says ready",
        "0 failed, no more work sent there after 1 s",
        grpc_dead,
        detect=1,
        control=grpc_dead_unseen,
        tested=(),
    ),
    Fault(
        40,
        "a request that kills whatever node runs it, sent once a second",
        "at most 2 nodes lost to it (`retries: 1`), refused within 1.5 s; 0 others failed",
        query_of_death,
        detect=1.5,
        lost=2,
        bites=lambda measured: (measured.lost or 0) > 2,
        tested=(),
    ),
    Fault(
        40,
        "a request that kills the process of its model, sent once a second",
        "at most 3 processes lost to it, refused within 9 s; 0 others failed",
        process_death,
        detect=9,
        lost=3,
        config=LEARNING,
        bites=lambda measured: (measured.lost or 0) > 3,
        tested=(),
    ),
    Fault(
        41,
        "brown-out: every node fails every call for 10 s",
        "at most 1.2 tries for each call, tried again as before 3 s after its end",
        browned_out,
        recover=3,
        lossless=False,
        bounds={TRIES: (0, 1.2)},
        control=browned_out_unseen,
        control_config="",
        spoils=True,
        bites=lambda measured: measured.figures[TRIES] > 1.5,
        tested=(),
    ),
)
