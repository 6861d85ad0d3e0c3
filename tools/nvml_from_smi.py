"""Make a recording of NVML's answers from what ``nvidia-smi -q -x`` printed on some machine.

``python -m tools.nvml_from_smi SMI.xml FILE --source URL --licence NAME --compute-capability 8.6``

nvidia-smi prints NVML's answers, rounded and with units. This is the way back, for what the agent asks; it is exact
but for these:

- memory is printed in MiB, power in hundredths of a watt: digits beyond that are lost, and here they are zero;
- "N/A" stands for any error; the answer here is "not supported", which is what NVML says of what a device lacks;
- ECC totals are the sums of the printed parts (SRAM and DRAM, parity and SEC-DED);
- the number of MIG instances there can be is that of those there are;
- of the driver's age it follows which of two names of one question it knows: nvmlDeviceGetCurrentClocksEventReasons
  since release 535, nvmlDeviceGetTemperatureV since release 560;
- the compute capability is not printed: it is taken from NVIDIA's list (https://developer.nvidia.com/cuda-gpus).

What nvidia-smi does not print at all is named in ``unknown``; a replay answers "not supported" to it, which may not be
what the device would have said.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pynvml

from tools.nvml_recording import Answer, save

_UNKNOWN = [
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetNvLinkState",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetSupportedEventTypes",
]
_REASONS = {
    "gpu_idle": pynvml.nvmlClocksEventReasonGpuIdle,
    "applications_clocks_setting": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    "sw_power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "hw_thermal_slowdown": pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "hw_power_brake_slowdown": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal_slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "display_clocks_setting": pynvml.nvmlClocksEventReasonDisplayClockSetting,
}
_RECOVERIES = {
    "None": pynvml.NVML_GPU_RECOVERY_ACTION_NONE,
    "Reset": pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET,
    "Reboot": pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT,
    "Drain P2P": pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P,
    "Drain and Reset": pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET,
}
_NOT_SUPPORTED: Answer = {"error": pynvml.NVML_ERROR_NOT_SUPPORTED}
_NO_FUNCTION: Answer = {"error": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
_MIB = 1024 * 1024


def recording(text: str, compute_capability: str, source: str, licence: str) -> dict[str, Any]:
    """The recording that one machine's output amounts to."""
    log = Tree.fromstring(text)  # noqa: S314 - a file somebody chose, read by hand
    release = int(_of(log, "driver_version").split(".")[0])
    major, minor = map(int, _of(log, "cuda_version").split("."))
    gpus = log.findall("gpu")
    unknown = list(_UNKNOWN)
    answers: dict[str, Answer] = {
        "nvmlSystemGetDriverVersion()": {"value": _of(log, "driver_version")},
        "nvmlSystemGetCudaDriverVersion()": {"value": major * 1000 + minor * 10},
        "nvmlDeviceGetCount()": {"value": len(gpus)},
    }
    for index, gpu in enumerate(gpus):
        answers[f"nvmlDeviceGetHandleByIndex({index})"] = {"handle": f"gpu{index}"}
        capability = [{"value": int(part)} for part in compute_capability.split(".")]
        answers[f"nvmlDeviceGetCudaComputeCapability(gpu{index})"] = {"list": capability}
        answers |= {_asked(call, f"gpu{index}"): given for call, given in _device(gpu, release).items()}
        for at, part in enumerate(gpu.findall("mig_devices/mig_device")):
            answers[f"nvmlDeviceGetMigDeviceHandleByIndex(gpu{index}, {at})"] = {"handle": f"gpu{index}/mig{at}"}
            answers[f"nvmlDeviceGetMemoryInfo(gpu{index}/mig{at})"] = _memory(part)
            unknown += [f"{call}(gpu{index}/mig{at})" for call in ("nvmlDeviceGetUUID", "nvmlDeviceGetName")]
    return {
        "device": ", ".join(_of(gpu, "product_name") for gpu in gpus),
        "made": "converted from the output of nvidia-smi -q -x by tools/nvml_from_smi.py, which says how",
        "source": source,
        "licence": licence,
        "taken": _of(log, "timestamp"),
        "supplied": "compute capability, from https://developer.nvidia.com/cuda-gpus",
        "unknown": unknown,
        "answers": {call: [given] for call, given in answers.items()},
    }


def _asked(call: str, device: str) -> str:
    name, _, more = call.partition(" ")
    return f"{name}({device}{more and f', {more}'})"


def _device(gpu: Tree.Element, release: int) -> dict[str, Answer]:
    """One GPU's answers, by the call and its arguments after the handle."""
    memory = _memory(gpu)
    sensor, temperature = pynvml.NVML_TEMPERATURE_GPU, _number(gpu, "temperature/gpu_temp")
    reasons = _reasons(gpu)
    rates = {"gpu": _number(gpu, "utilization/gpu_util"), "memory": _number(gpu, "utilization/memory_util")}
    volatile = pynvml.NVML_VOLATILE_ECC
    return {
        "nvmlDeviceGetName": {"value": _of(gpu, "product_name")},
        "nvmlDeviceGetUUID": {"value": _of(gpu, "uuid")},
        "nvmlDeviceGetPciInfo": {"struct": {"busId": {"value": _of(gpu, "pci/pci_bus_id")}}},
        "nvmlDeviceGetMaxPcieLinkGeneration": _number(gpu, "pci/pci_gpu_link_info/pcie_gen/max_link_gen"),
        "nvmlDeviceGetMaxPcieLinkWidth": _number(gpu, "pci/pci_gpu_link_info/link_widths/max_link_width"),
        "nvmlDeviceGetCurrPcieLinkWidth": _number(gpu, "pci/pci_gpu_link_info/link_widths/current_link_width"),
        **_mig(gpu),
        f"nvmlDeviceGetMemoryInfo {pynvml.nvmlMemory_v2}": memory,
        "nvmlDeviceGetUtilizationRates": _NOT_SUPPORTED if _NOT_SUPPORTED in rates.values() else {"struct": rates},
        "nvmlDeviceGetPowerUsage": _milli(gpu, "average_power_draw", "power_draw"),
        "nvmlDeviceGetEnforcedPowerLimit": _milli(gpu, "enforced_power_limit", "current_power_limit"),
        f"nvmlDeviceGetTemperatureV {sensor}": temperature if release >= 560 else _NO_FUNCTION,
        f"nvmlDeviceGetTemperature {sensor}": temperature,
        f"nvmlDeviceGetClockInfo {pynvml.NVML_CLOCK_SM}": _number(gpu, "clocks/sm_clock"),
        f"nvmlDeviceGetClockInfo {pynvml.NVML_CLOCK_MEM}": _number(gpu, "clocks/mem_clock"),
        "nvmlDeviceGetCurrentClocksEventReasons": reasons if release >= 535 else _NO_FUNCTION,
        "nvmlDeviceGetCurrentClocksThrottleReasons": reasons,
        f"nvmlDeviceGetTotalEccErrors {pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED}, {volatile}": _ecc(gpu, "correctable"),
        f"nvmlDeviceGetTotalEccErrors {pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED}, {volatile}": _ecc(
            gpu, "uncorrectable"
        ),
        "nvmlDeviceGetRemappedRows": _rows(gpu),
        f"nvmlDeviceGetFieldValues ({pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION},)": _recovery(gpu),
        "nvmlDeviceGetComputeRunningProcesses": _processes(gpu),
    }


def _of(place: Tree.Element, path: str) -> str:
    return (place.findtext(path) or "").strip()


def _number(place: Tree.Element, path: str) -> Answer:
    """The number before the unit, ``16x`` included."""
    text = _of(place, path).split(" ")[0].rstrip("x")
    return {"value": int(text)} if text.isdigit() else _NOT_SUPPORTED


def _milli(gpu: Tree.Element, *names: str) -> Answer:
    """Watts as milliwatts, of the first of these that is printed."""
    for name in names:
        for group in ("gpu_power_readings", "power_readings"):
            text = _of(gpu, f"{group}/{name}")
            if text.endswith(" W"):
                return {"value": round(float(text.removesuffix(" W")) * 1000)}
    return _NOT_SUPPORTED


def _memory(place: Tree.Element) -> Answer:
    parts = {name: _of(place, f"fb_memory_usage/{name}") for name in ("total", "reserved", "used", "free")}
    return {"struct": {name: {"value": int(text.split(" ")[0]) * _MIB} for name, text in parts.items() if text}}


def _mig(gpu: Tree.Element) -> dict[str, Answer]:
    modes = {"Enabled": pynvml.NVML_DEVICE_MIG_ENABLE, "Disabled": pynvml.NVML_DEVICE_MIG_DISABLE}
    now, later = _of(gpu, "mig_mode/current_mig"), _of(gpu, "mig_mode/pending_mig")
    if now not in modes:
        return {"nvmlDeviceGetMigMode": _NOT_SUPPORTED}
    parts = gpu.findall("mig_devices/mig_device")
    return {
        "nvmlDeviceGetMigMode": {"list": [{"value": modes[now]}, {"value": modes[later]}]},
        "nvmlDeviceGetMaxMigDeviceCount": {"value": len(parts)},
    }


def _reasons(gpu: Tree.Element) -> Answer:
    for group, prefix in (
        ("clocks_event_reasons", "clocks_event_reason"),
        ("clocks_throttle_reasons", "clocks_throttle_reason"),
    ):
        if gpu.find(group) is not None:
            active = [bit for name, bit in _REASONS.items() if _of(gpu, f"{group}/{prefix}_{name}") == "Active"]
            return {"value": sum(active)}
    return _NOT_SUPPORTED


def _ecc(gpu: Tree.Element, kind: str) -> Answer:
    volatile = gpu.find("ecc_errors/volatile")
    counts = [
        (one.text or "").strip() for one in (volatile if volatile is not None else ()) if one.tag.split("_")[1] == kind
    ]
    if not counts or not all(count.isdigit() for count in counts):
        return _NOT_SUPPORTED
    return {"value": sum(map(int, counts))}


def _rows(gpu: Tree.Element) -> Answer:
    corrected, uncorrected = (_number(gpu, f"remapped_rows/remapped_row_{one}") for one in ("corr", "unc"))
    if "value" not in corrected:
        return _NOT_SUPPORTED
    flags = [{"value": int(_of(gpu, f"remapped_rows/remapped_row_{one}") == "Yes")} for one in ("pending", "failure")]
    return {"list": [corrected, uncorrected, *flags]}


def _recovery(gpu: Tree.Element) -> Answer:
    action = _of(gpu, "gpu_recovery_action")
    told = action in _RECOVERIES
    return {
        "list": [
            {
                "struct": {
                    "nvmlReturn": {"value": pynvml.NVML_SUCCESS if told else pynvml.NVML_ERROR_NOT_SUPPORTED},
                    "value": {"struct": {"uiVal": {"value": _RECOVERIES.get(action, 0)}}},
                }
            }
        ]
    }


def _processes(gpu: Tree.Element) -> Answer:
    """Those that compute; nvidia-smi prints those that draw beside them."""
    found: list[Answer] = []
    for one in gpu.findall("processes/process_info"):
        if "C" in _of(one, "type").split("+"):
            used = _of(one, "used_memory").removesuffix(" MiB")
            memory = int(used) * _MIB if used.isdigit() else None
            found.append({"struct": {"pid": {"value": int(_of(one, "pid"))}, "usedGpuMemory": {"value": memory}}})
    return {"list": found}


def main() -> int:
    """Convert one file."""
    parser = argparse.ArgumentParser(description="Make a recording of NVML's answers from nvidia-smi -q -x.")
    parser.add_argument("smi", type=Path, help="what nvidia-smi printed")
    parser.add_argument("file", type=Path, help="where the recording goes")
    parser.add_argument("--source", required=True, help="where the output was published")
    parser.add_argument("--licence", required=True, help="under which licence")
    parser.add_argument("--compute-capability", required=True, help="of its GPUs, by NVIDIA's list")
    given = parser.parse_args()
    text = given.smi.read_text(encoding="utf-8")
    save(given.file, recording(text, given.compute_capability, given.source, given.licence))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
