"""Whether the control plane hangs, judged from the signs of life it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Seconds. The control plane gives a sign twice a second while its event loop turns.
SIGN_EVERY = 0.5
# Silent for so long without working, it hangs: stopped, or waiting for what never comes. A silent one that works may
# be building the configuration of a great fleet, and gets LOST: an endless loop ends then.
_HANGS = 2.0
_LOST = 20.0
# It works when it used this share of a processor since its last sign; threads that keep connections alive use less.
_WORKS = 0.05
# A look that comes so late was not held up by the control plane: this process was stopped as well, or the machine was.
_PAUSED = 1.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What was last seen. ``sign`` and ``look`` are monotonic seconds; ``cpu`` is the processor time used by ``sign``,
    in seconds."""

    sign: float
    look: float
    cpu: float

    def signed(self, now: float, cpu: float) -> Watch:
        """After a sign of life."""
        return Watch(now, self.look, cpu)

    def looked(self, now: float, cpu: float) -> Watch:
        """After a look. A pause of this process itself counts as a sign: nobody could have given one."""
        return Watch(now, now, cpu) if now - self.look > _PAUSED else replace(self, look=now)

    def hangs(self, now: float, cpu: float) -> bool:
        """Whether a process that has used ``cpu`` seconds of processor time by ``now`` will not come back by itself."""
        silent = now - self.sign
        return silent > _LOST or (silent > _HANGS and cpu - self.cpu < _WORKS * silent)
