"""The rows of the fault table that befall the proxy: its processes, its settings, its clocks and whom it lets in."""

from __future__ import annotations

from benchmarks.faults.attacks import attacked, attacked_without_envoy
from benchmarks.faults.certificates import certificate_ended, certificate_unasked
from benchmarks.faults.clocks import ACCEPTED, EXPIRED, MOVED, can_move_clocks, clock_jumps, movable_clock
from benchmarks.faults.configuration import bad_settings
from benchmarks.faults.control_plane import (
    control_plane_forgot,
    control_plane_forgot_its_disk,
    control_plane_hangs,
    control_plane_killed,
    envoy_first,
)
from benchmarks.faults.envoys import (
    PAIR,
    envoy_killed,
    one_of_two_envoys_killed,
    supervisor_killed,
    supervisor_killed_for_good,
    upgraded,
    upgraded_by_killing,
)
from benchmarks.faults.fault import HEALING, Fault
from benchmarks.faults.fuzz import fuzzed
from benchmarks.faults.identity import address_reused_untold, false_claims
from benchmarks.faults.storm import registration_storm
from benchmarks.faults.strangers import LET_IN, NOTED, REFUSALS, WITH_MESH_PORT, strangers, strangers_unasked

ROWS: tuple[Fault, ...] = (
    Fault(
        15,
        "control plane kill -9",
        "0 failed, Envoy reconnected within 1 s of its return",
        control_plane_killed,
        proxyless=True,
        recover=1,
        spoils=True,
        # No request fails in the control either: there the control plane never comes back.
        bites=lambda _: False,
        tested=("envoy", "proxyless"),
    ),
    Fault(
        16,
        "control plane returns with empty memory",
        "0 failed, nothing removed",
        control_plane_forgot,
        proxyless=True,
        control=control_plane_forgot_its_disk,
        control_config="",
        spoils=True,
    ),
    Fault(
        17,
        "control plane hangs (SIGSTOP)",
        "0 failed, another one answers within 5 s",
        control_plane_hangs,
        recover=5,
        spoils=True,
        # No request fails in the control either: there nobody ends the one that hangs.
        bites=lambda _: False,
        tested=(),
    ),
    Fault(
        18,
        "Envoy kill -9",
        "only calls under way in it fail, for 90 ms at most; served again within 0.3 s",
        envoy_killed,
        recover=0.3,
        gap=0.09,
        spoils=True,
        lossless=False,
        bites=lambda measured: measured.recovered is None,
    ),
    Fault(
        19,
        "Envoy kill -9, two on the port",
        "0 failed for a client with a retry policy",
        one_of_two_envoys_killed,
        config=PAIR,
        control=envoy_killed,
        spoils=True,
        bites=lambda measured: measured.recovered is None,
        tested=(),
    ),
    Fault(
        20,
        "Envoy and control plane die, Envoy returns first",
        "serves the last good configuration within 1 s",
        envoy_first,
        recover=1,
        spoils=True,
        lossless=False,
        # Without an Envoy no connection is taken in either run: what differs is when serving begins again.
        bites=lambda measured: measured.recovered is None,
    ),
    Fault(
        21,
        "supervisor of the proxy kill -9",
        "no orphan; one Envoy serves the last good configuration within 2 s",
        supervisor_killed,
        recover=2,
        control=supervisor_killed_for_good,
        control_config=HEALING,
        spoils=True,
        lossless=False,
        bites=lambda measured: measured.recovered is None,
        tested=(),
    ),
    *(
        [
            Fault(
                25,
                "the wall clock jumps an hour ahead, back, and back once more",
                "0 failed, no lease expires, no token accepted that ended or was used",
                clock_jumps,
                bounds={EXPIRED: (0, 0), ACCEPTED: (0, 0), MOVED: (3590, 3700)},
                config=WITH_MESH_PORT,
                env=movable_clock,
                # No cloud has leases by the wall clock: that it moved is seen from the times the control plane writes.
                controlled=False,
                tested=(),
            )
        ]
        if can_move_clocks()
        else []
    ),
    Fault(
        26,
        "a node's name, old life and address are claimed by others",
        "one endpoint, the zombie fenced, no request to the wrong server",
        false_claims,
        control=address_reused_untold,
        tested=(),
    ),
    Fault(
        27,
        "10,000 nodes register at once",
        "all in within 30 s, no more than 20 pushes, no more than 640 MiB more memory",
        registration_storm,
        recover=30,
        grown=640,
        controlled=False,
        tested=(),
    ),
    Fault(
        29,
        "malformed and oversized messages of every protocol",
        "right status, no crash, 0 failed for others, no more than 64 MiB more memory",
        fuzzed,
        grown=64,
        controlled=False,
        tested=(),
    ),
    Fault(
        30,
        "slow headers and prefaces, HTTP/2 rapid reset, 300 idle connections",
        "0 failed for others, attackers closed within 16 s, no more than 64 MiB more memory",
        attacked,
        recover=16,
        grown=64,
        control=attacked_without_envoy,
        bites=lambda measured: measured.recovered is None,
        tested=(),
    ),
    Fault(
        31,
        "a node's certificate ends, or is of another CA",
        "0 failed, no calls to it; back within 5 s of a good one",
        certificate_ended,
        recover=5,
        control=certificate_unasked,
        tested=(),
    ),
    Fault(
        31,
        "nodes with an expired, foreign or no certificate, a wrong, expired or replayed token, another node's of both",
        "0 failed, each refused with its status and a line of the audit log, none gets a call",
        strangers,
        bounds={LET_IN: (0, 0), NOTED: (len(REFUSALS), len(REFUSALS))},
        config=WITH_MESH_PORT,
        control=strangers_unasked,
        bites=lambda measured: measured.figures[LET_IN] >= len(REFUSALS),
        tested=(),
    ),
    Fault(
        32,
        "settings with a mistake, settings that Envoy refuses",
        "0 failed, refused within 2 s with their line, a new model served within 1 s all the same",
        bad_settings,
        detect=2,
        recover=1,
        # What is refused is the routes: those of before still serve, and the new model never gets one.
        bites=lambda measured: measured.recovered is None,
        tested=(),
    ),
    Fault(
        37,
        "rolling upgrade of Envoy, control plane and agents",
        "0 failed, streams finished",
        upgraded,
        control=upgraded_by_killing,
        control_config=HEALING,
        spoils=True,
        tested=(),
    ),
)
