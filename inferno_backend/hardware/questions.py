"""Questions to NVML, one answer at a time: what a device cannot or may not tell is absent, and said once.

Sources: NVIDIA's NVML API reference, nvmlReturn_t (what each error means) and the functions' own "Returns" lists.
"""

from __future__ import annotations

from typing import Any

from inferno_runtime import logs

_LOG = logs.get("nvml")
# The answer will be the same as long as this driver is loaded: it is not asked for again, which also costs least.
_FINAL = (
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_NO_PERMISSION",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_INVALID_ARGUMENT",
    "NVML_ERROR_DEPRECATED",
    "NVML_ERROR_ARGUMENT_VERSION_MISMATCH",
    "NVML_ERROR_VGPU_ECC_NOT_SUPPORTED",
)
# The device can do no work: it has fallen off the bus, or waits for a reset.
_LOST = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")


class Questions:
    """Asks NVML (module ``pynvml``, or a recording of it) about one device, or about the machine.

    Attributes:
        lost: NVML's word that the device can do no work any more; empty while it has not said so.
    """

    def __init__(self, nvml: Any, name: str) -> None:
        self.lost = ""
        self._nvml = nvml
        self._name = name
        self._never: set[tuple[object, ...]] = set()
        self._told: set[tuple[object, ...]] = set()
        self._final = {getattr(nvml, each) for each in _FINAL}
        self._losses = {getattr(nvml, each) for each in _LOST}

    def ask(self, call: str, *given: Any, about: tuple[Any, ...] = ()) -> Any:
        """The answer to one call of NVML; None where there is none.

        Args:
            call: Name of the function.
            given: Its arguments.
            about: What tells this question from others with the same function; the handle need not be named.
        """
        question = (call, *about)
        if question in self._never:
            return None
        try:
            return getattr(self._nvml, call)(*given)
        except self._nvml.NVMLError as error:
            self.note(error, *question)
            return None

    def note(self, error: Any, *question: object) -> None:
        """Take an answer that is an error: the call's name, and what else tells the question from others."""
        if error.value in self._losses:
            self.lost = str(error)
        if error.value in self._final:
            self._never.add(question)
        if question in self._told:
            return
        self._told.add(question)
        if error.value == self._nvml.NVML_ERROR_NO_PERMISSION:
            _LOG.warning("this may not be read: it stays unknown", device=self._name, call=question[0])
        else:
            _LOG.debug("no answer", device=self._name, call=question[0], error=str(error))
