"""What is wrong with a GPU, from what it was found to do. Pure.

Sources:

- Xid errors: NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors, "Analyzing Xid Errors with the Xid Catalog"), its
  column "Immediate Action" and, for 48 and 74 whose action is a procedure, the text. Those that ask for a reset of the
  GPU or a reboot are faults here. Those that a program causes, or that its restart heals, are not: 13, 31, 43, 45 and
  others, among them 109, which asks for a reset and which NVIDIA's device plugin for Kubernetes counts as the program's
  own. Those to be ignored (63: a row was replaced; 92: many errors were corrected) are not either.
- Memory errors: NVIDIA GPU Memory Error Management (docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt).
- Slowdowns and lost GPUs: NVML API reference, nvmlClocksEventReasons and nvmlReturn_t.
- What a driver asks for: NVML API reference, nvmlDeviceGpuRecoveryAction_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from inferno_backend.hardware.use import Use

# The rest of the sentence "It has reported Xid N: ...".
FATAL_XIDS = MappingProxyType(
    {
        46: "the GPU stopped processing; it has to be reset",
        48: "an error in its memory could not be corrected; it has to be reset",
        62: "its micro-controller has halted; it has to be reset",
        64: "a faulty row of its memory could not be replaced; it has to be reset",
        74: "an NVLink has failed; it has to be reset",
        79: "it has fallen off the bus; the machine has to be rebooted",
        95: "an error in its memory has reached several programs; it has to be reset",
        110: "it has a security fault; it has to be reset",
        119: "its system processor (GSP) does not answer; it has to be reset",
        120: "its system processor (GSP) has failed; it has to be reset",
        136: "an NVLink could not be set up; it has to be reset",
        140: "an error in its memory could not be dealt with; it has to be reset",
        143: "it could not be initialised; it has to be reset",
        158: "it has timed out for good; it has to be reset",
    }
)
# An error in memory that was contained to one program: that one must be restarted, and the GPU goes on.
RESTARTING_XIDS = MappingProxyType({94: "an error in its memory has hit a program; Triton has to be restarted"})
# By what the driver asks for. What may wait for a quiet hour (drain_and_reset, drain_p2p), and what concerns a network
# of machines, is no reason to stop work.
_RECOVERIES = MappingProxyType(
    {
        "gpu_reset": "the GPU to be reset",
        "bus_reset": "its PCI bus to be reset",
        "node_reboot": "the machine to be rebooted",
        "system_reboot": "the machine to be rebooted",
    }
)
# Clocks are held to half or less by these; sw_thermal_slowdown and sw_power_cap trim them as part of normal work.
_SLOWED = MappingProxyType(
    {"hw_thermal_slowdown": "heat", "hw_power_brake_slowdown": "the power brake of its power supply"}
)


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one GPU's health; the reasons are sentences, empty while there is none.

    Attributes:
        fault: Why it can do no work until it is reset and the agent started again.
        contained: Why it can do no work until Triton is started again.
        life: Triton's process id when ``contained`` set in.
        asked: What its driver asks an operator for.
        slowed: Why it is too slow to be given work.
        turned_at: Since when it is slowed down while ``slowed`` is empty, or free of it while it is not, in monotonic
            seconds; None while both say the same.
        use: How it was last seen; None before the first time.
    """

    fault: str = ""
    contained: str = ""
    life: int = 0
    asked: str = ""
    slowed: str = ""
    turned_at: float | None = None
    use: Use | None = None

    @property
    def reason(self) -> str:
        """Why it can do no work; empty while it can."""
        return self.fault or self.contained or self.asked or self.slowed


def examine(health: Health, use: Use, at: float, triton_pid: int, slowed_after: float) -> Health:
    """The health of a GPU after another look at it.

    Args:
        health: As it was.
        use: What it does now.
        at: Now, in monotonic seconds.
        triton_pid: Triton's process id now; 0 when it is not ours or not running.
        slowed_after: Seconds of being slowed down after which it is too slow, and of being free of it after which it is
            not any more.
    """
    contained, life = _contained(health, use, triton_pid)
    wanted = _RECOVERIES.get(use.recovery, "")
    slowed, turned_at = _slowed(health, use, at, slowed_after)
    return Health(
        health.fault or _fault(health.use, use),
        contained,
        life,
        f"Its driver asks for {wanted}." if wanted else "",
        slowed,
        turned_at,
        use,
    )


def _fault(before: Use | None, use: Use) -> str:
    """What has happened since the last look that nothing but a reset ends."""
    fresh = _new(before, use)
    for xid in fresh:
        if xid in FATAL_XIDS:
            return f"It has reported Xid {xid}: {FATAL_XIDS[xid]}."
    if use.lost:
        return f"It does not answer any more, and NVML says: {use.lost}."
    if use.remap_failed:
        return "A faulty row of its memory could not be replaced: it has to be exchanged."
    # One that was contained is counted as well.
    if _grown(before, use) and not any(xid in RESTARTING_XIDS for xid in fresh):
        return "An error in its memory could not be corrected: it has to be reset."
    return ""


def _grown(before: Use | None, use: Use) -> bool:
    """True when memory errors were not corrected since the last look.

    Those from before the first look are over: the memory was mended since, or no program ran.
    """
    if before is None or before.ecc_uncorrected is None or use.ecc_uncorrected is None:
        return False
    return use.ecc_uncorrected > before.ecc_uncorrected


def _contained(health: Health, use: Use, triton_pid: int) -> tuple[str, int]:
    """What a restart of Triton ends, and in which life of Triton it began."""
    for xid in _new(health.use, use):
        if xid in RESTARTING_XIDS:
            return f"It has reported Xid {xid}: {RESTARTING_XIDS[xid]}.", triton_pid
    # Between two lives there is none: what was said of the last one stays until the next is there.
    if health.contained and triton_pid in {0, health.life}:
        return health.contained, health.life
    return "", 0


def _slowed(health: Health, use: Use, at: float, slowed_after: float) -> tuple[str, float | None]:
    """Whether it is too slow by now, and since when that seems to be otherwise."""
    causes = " and ".join(cause for name, cause in _SLOWED.items() if name in use.slowdowns)
    if bool(causes) == bool(health.slowed):
        return health.slowed, None
    since = at if health.turned_at is None else health.turned_at
    if at - since < slowed_after:
        return health.slowed, since
    return f"It has been slowed down by {causes} for more than {slowed_after:g} s." if causes else "", None


def _new(before: Use | None, use: Use) -> list[int]:
    """Xid errors that were reported since the last look."""
    seen = before.xids if before is not None else {}
    return [xid for xid, count in use.xids.items() if count > seen.get(xid, 0)]
