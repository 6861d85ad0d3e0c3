"""How NVML's answers get into a recording: from NVML's own structures, and from what nvidia-smi prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from tools.nvml_from_smi import recording
from tools.nvml_recording import Recorder, Replay

# Figures of the source of tests/recordings/nvml/a10g.json, with those changed that it does not have, and cut short.
SMI = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <timestamp>Mon Apr 24 16:11:51 2023</timestamp>
  <driver_version>570.124.04</driver_version><cuda_version>12.8</cuda_version>
  <gpu id="00000000:00:1E.0">
    <product_name>NVIDIA A10G</product_name><uuid>GPU-1</uuid><gpu_recovery_action>Reset</gpu_recovery_action>
    <mig_mode><current_mig>Disabled</current_mig><pending_mig>Enabled</pending_mig></mig_mode>
    <pci><pci_gpu_link_info>
      <pcie_gen><max_link_gen>4</max_link_gen></pcie_gen>
      <link_widths><max_link_width>16x</max_link_width><current_link_width>N/A</current_link_width></link_widths>
    </pci_gpu_link_info></pci>
    <clocks_event_reasons>
      <clocks_event_reason_gpu_idle>Active</clocks_event_reason_gpu_idle>
      <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
    </clocks_event_reasons>
    <fb_memory_usage><total>23028 MiB</total><used>22 MiB</used></fb_memory_usage>
    <utilization><gpu_util>7 %</gpu_util><memory_util>1 %</memory_util></utilization>
    <ecc_errors><volatile>
      <sram_correctable>1</sram_correctable><sram_uncorrectable_parity>2</sram_uncorrectable_parity>
      <sram_uncorrectable_secded>3</sram_uncorrectable_secded><dram_correctable>4</dram_correctable>
      <dram_uncorrectable>5</dram_uncorrectable>
    </volatile></ecc_errors>
    <remapped_rows>
      <remapped_row_corr>6</remapped_row_corr><remapped_row_unc>7</remapped_row_unc>
      <remapped_row_pending>Yes</remapped_row_pending><remapped_row_failure>No</remapped_row_failure>
    </remapped_rows>
    <temperature><gpu_temp>17 C</gpu_temp></temperature>
    <gpu_power_readings><average_power_draw>25.58 W</average_power_draw></gpu_power_readings>
    <processes>
      <process_info><pid>1</pid><type>G</type><used_memory>22 MiB</used_memory></process_info>
      <process_info><pid>2</pid><type>C+G</type><used_memory>N/A</used_memory></process_info>
    </processes>
  </gpu>
</nvidia_smi_log>"""


def smi() -> Replay:
    return Replay(recording(SMI, "8.6", "here", "ours"))


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda nvml, _: nvml.nvmlSystemGetCudaDriverVersion(), 12080),
        (lambda nvml, gpu: nvml.nvmlDeviceGetCudaComputeCapability(gpu), [8, 6]),
        (lambda nvml, gpu: nvml.nvmlDeviceGetMigMode(gpu), [0, 1]),
        (lambda nvml, gpu: nvml.nvmlDeviceGetMaxPcieLinkWidth(gpu), 16),
        (lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu), 25_580),
        (lambda nvml, gpu: nvml.nvmlDeviceGetTemperatureV(gpu, 0), 17),
        (lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu, nvml.nvmlMemory_v2).total, 23028 * 2**20),
        (lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu, 7),
        (lambda nvml, gpu: nvml.nvmlDeviceGetTotalEccErrors(gpu, 0, 0), 5),
        (lambda nvml, gpu: nvml.nvmlDeviceGetTotalEccErrors(gpu, 1, 0), 10),
        (lambda nvml, gpu: nvml.nvmlDeviceGetRemappedRows(gpu), [6, 7, 1, 0]),
        (lambda nvml, gpu: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu), 0b101),
        (lambda nvml, gpu: nvml.nvmlDeviceGetFieldValues(gpu, (230,))[0].value.uiVal, 1),
        (
            lambda nvml, gpu: [vars(one) for one in nvml.nvmlDeviceGetComputeRunningProcesses(gpu)],
            [{"pid": 2, "usedGpuMemory": None}],
        ),
    ],
)
def test_what_nvidia_smi_prints_is_what_nvml_answered(ask: Callable[[Replay, Any], object], answer: object) -> None:
    nvml = smi()
    assert ask(nvml, nvml.nvmlDeviceGetHandleByIndex(0)) == answer


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("nvmlDeviceGetCurrPcieLinkWidth", pynvml.NVML_ERROR_NOT_SUPPORTED),
        ("nvmlDeviceGetEnforcedPowerLimit", pynvml.NVML_ERROR_NOT_SUPPORTED),
        ("nvmlDeviceGetTotalEnergyConsumption", pynvml.NVML_ERROR_NOT_SUPPORTED),
    ],
)
def test_what_nvidia_smi_does_not_print_is_not_supported(call: str, code: int) -> None:
    nvml = smi()
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    with pytest.raises(pynvml.NVMLError) as refused:
        getattr(nvml, call)(device)
    assert refused.value.value == code


def always(answer: object) -> Callable[..., object]:
    return lambda *_: answer


def test_nvmls_own_structures_are_recorded_and_replayed() -> None:
    field = pynvml.c_nvmlFieldValue_t(fieldId=230, nvmlReturn=0)
    field.value.uiVal = 2
    running = pynvml.nvmlStructToFriendlyObject(pynvml.c_nvmlProcessInfo_v3_t(pid=7, usedGpuMemory=9))
    real: dict[str, object] = {
        "nvmlSystemGetDriverVersion": b"595.84",
        "nvmlDeviceGetMemoryInfo": pynvml.c_nvmlMemory_v2_t(total=80, reserved=1, used=2, free=77),
        "nvmlDeviceGetCudaComputeCapability": (9, 0),
        "nvmlDeviceGetFieldValues": (pynvml.c_nvmlFieldValue_t * 1)(field),
        "nvmlDeviceGetProcessUtilization": [pynvml.c_nvmlProcessUtilizationSample_t(pid=7, timeStamp=5, smUtil=42)],
        "nvmlDeviceGetComputeRunningProcesses": [running],
        "nvmlEventSetWait_v2": pynvml.c_nvmlEventData_t(eventType=8, eventData=79),
        "nvmlEventSetCreate": pynvml.c_nvmlEventSet_t(),
        "nvmlDeviceGetHandleByIndex": pynvml.c_nvmlDevice_t(),
    }
    answering = {call: always(answer) for call, answer in real.items()}
    recorder = Recorder(SimpleNamespace(NVMLError=pynvml.NVMLError, **answering))

    def asked(nvml: Any) -> list[object]:
        device, events = nvml.nvmlDeviceGetHandleByIndex(0), nvml.nvmlEventSetCreate()
        memory = nvml.nvmlDeviceGetMemoryInfo(device, 2)
        (recovery,) = nvml.nvmlDeviceGetFieldValues(device, (230,))
        (sample,) = nvml.nvmlDeviceGetProcessUtilization(device, 3)
        (process,) = nvml.nvmlDeviceGetComputeRunningProcesses(device)
        return [
            str(device),
            str(events),
            (memory.total, memory.reserved, memory.used, memory.free),
            list(nvml.nvmlDeviceGetCudaComputeCapability(device)),
            (recovery.nvmlReturn, recovery.value.uiVal),
            (sample.pid, sample.timeStamp, sample.smUtil),
            (process.pid, process.usedGpuMemory),
            nvml.nvmlEventSetWait_v2(events, 0).eventData,
        ]

    told = asked(recorder)
    assert told == ["gpu0", "events0", (80, 1, 2, 77), [9, 0], (0, 2), (7, 5, 42), (7, 9), 79]
    recorder.nvmlSystemGetDriverVersion()
    again = Replay(json.loads(json.dumps({"answers": recorder.answers})))
    assert asked(again) == told
    assert again.nvmlSystemGetDriverVersion() == "595.84"
