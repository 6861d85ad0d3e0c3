"""What the agent makes of NVML's answers: those of real devices, from recordings (tests/recordings/nvml)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pynvml
import pytest

from inferno_backend.hardware.nvml import NvmlProbe
from inferno_backend.hardware.use import ProcessUse, Use
from inferno_backend.node import Gpu, MigInstance
from tests.nvml import RECORDINGS, listening, replay, report
from tools.nvml_recording import Recorder, Replay, load, save

MIB = 1024 * 1024
T4 = "GPU-d37e67a5-91dd-3774-a5cb-99096249601a"
A10G = "GPU-9a9a6c50-2a47-2f51-a902-b82c3b127e94"


@pytest.fixture
def probe() -> Iterator[Callable[[Replay], NvmlProbe]]:
    with ExitStack() as closing:
        yield lambda nvml: NvmlProbe(nvml, closing)


def test_a_gpu_is_described_as_the_driver_tells_it(probe: Callable[[Replay], NvmlProbe]) -> None:
    found = probe(replay("tesla-t4"))
    assert (found.driver_version, found.cuda_version) == ("515.105.01", "11.7")
    assert found.gpus() == (
        Gpu(
            T4,
            "Tesla T4",
            15360 * MIB,
            compute_capability="7.5",
            pci_bus_id="00000000:00:1E.0",
            pcie_generation=3,
            pcie_width=16,
            pcie_current_width=8,
        ),
    )


def test_a_partitioned_gpu_is_described_with_its_parts_and_does_not_tell_how_busy_it_is(
    probe: Callable[[Replay], NvmlProbe],
) -> None:
    found = probe(replay("a100-sxm4"))
    (gpu,) = found.gpus()
    assert gpu.mig_enabled
    assert gpu.mig_instances == (MigInstance("", "", 19968 * MIB),) * 4
    (use,) = found.uses(0)
    assert (use.utilization, use.memory_utilization) == (None, None)
    assert (use.power_watts, use.temperature_celsius, use.memory_used_bytes) == (67.03, 27.0, 50 * MIB)


def test_places_for_parts_may_be_empty(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("a100-sxm4")
    nvml.then("nvmlDeviceGetMigDeviceHandleByIndex(gpu0, 1)", {"error": nvml.NVML_ERROR_NOT_FOUND})
    nvml.then("nvmlDeviceGetUUID(gpu0/mig0)", {"value": b"MIG-1".decode()})
    nvml.then("nvmlDeviceGetMemoryInfo(gpu0/mig2)", {"error": nvml.NVML_ERROR_NO_PERMISSION})
    (gpu,) = probe(nvml).gpus()
    assert [(one.uuid, one.memory_bytes > 0) for one in gpu.mig_instances] == [("MIG-1", True), ("", False), ("", True)]


def test_links_that_are_up_are_counted(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("a100-sxm4")
    for link, state in enumerate((1, 1, 0, 1)):
        nvml.then(f"nvmlDeviceGetNvLinkState(gpu0, {link})", {"value": state})
    (gpu,) = probe(nvml).gpus()
    assert gpu.nvlinks == 3


def test_a_gpu_at_work_is_measured(probe: Callable[[Replay], NvmlProbe]) -> None:
    (use,) = probe(replay("rtx-3080")).uses(0)
    assert use == Use(
        "GPU-19d6d965-2acc-f646-00f8-4c76979aabb4",
        "gpu",
        utilization=0.65,
        memory_used_bytes=9184 * MIB,
        memory_total_bytes=10240 * MIB,
        memory_utilization=0.09,
        power_watts=139.62,
        power_limit_watts=320.0,
        temperature_celsius=27.0,
        sm_clock_mhz=1950,
        memory_clock_mhz=9251,
    )


def test_memory_errors_and_processes_are_counted(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("tesla-t4")
    sample = {"struct": {"pid": {"value": 5762}, "timeStamp": {"value": 7}, "smUtil": {"value": 42}}}
    nvml.then("nvmlDeviceGetProcessUtilization(gpu0)", {"list": [sample]}, {"error": nvml.NVML_ERROR_NOT_FOUND})
    found = probe(nvml)
    (first,), (second,) = found.uses(0), found.uses(0)
    assert (first.ecc_corrected, first.ecc_uncorrected) == (0, 0)
    assert first.processes == (ProcessUse(5762, 1005 * MIB, 0.42),)
    assert second.processes == (ProcessUse(5762, 1005 * MIB, None),)


def test_energy_is_a_total_in_joules(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("a10g")
    nvml.then("nvmlDeviceGetTotalEnergyConsumption(gpu0)", {"value": 7500})
    (use,) = probe(nvml).uses(0)
    assert use.energy_joules == 7.5


def test_what_slows_a_gpu_down_is_named_and_being_idle_is_not(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("a10g")
    (idle,) = probe(nvml).uses(0)
    assert idle.slowdowns == ()
    hot = nvml.nvmlClocksThrottleReasonHwSlowdown | nvml.nvmlClocksThrottleReasonHwThermalSlowdown
    nvml.then("nvmlDeviceGetCurrentClocksThrottleReasons(gpu0)", {"value": hot})
    (slow,) = probe(nvml).uses(0)
    assert slow.slowdowns == ("hw_slowdown", "hw_thermal_slowdown")


def test_xid_errors_are_counted_for_the_gpu_that_reports_them(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = listening(replay("a10g", "tesla-t4"), 1)
    found = probe(nvml)
    assert [use.xids for use in found.uses(0)] == [{}, {}]
    report(nvml, 79, 13, 13, gpu=1)
    assert [use.xids for use in found.uses(0)] == [{}, {79: 1, 13: 2}]
    assert [use.xids for use in found.uses(0)] == [{}, {79: 1, 13: 2}]


def test_a_gpu_whose_errors_cannot_be_registered_for_is_measured_all_the_same(
    probe: Callable[[Replay], NvmlProbe],
) -> None:
    kinds = pynvml.nvmlEventTypeXidCriticalError
    refused = listening(replay("a10g"), 0)
    refused.then(f"nvmlDeviceRegisterEvents(gpu0, {kinds}, events0)", {"error": pynvml.NVML_ERROR_NO_PERMISSION})
    without = listening(replay("a10g"), 0)
    without.then("nvmlEventSetCreate()", {"error": pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES})
    for nvml in (refused, without):
        (use,) = probe(nvml).uses(0)
        assert (use.xids, use.power_watts) == ({}, 25.58)


def test_a_gpu_that_has_fallen_off_the_bus_says_so_and_the_other_goes_on(
    probe: Callable[[Replay], NvmlProbe],
) -> None:
    # After an Xid 79 NVML answers "GPU is lost": leptonai/gpud issue #604 shows it for nvmlDeviceGetRemappedRows.
    nvml = listening(replay("a10g", "tesla-t4"), 0)
    found = probe(nvml)
    found.uses(0)
    for call in [one for one in nvml.answers if "(gpu0" in one] + ["nvmlEventSetWait_v2(events0, 0)"]:
        nvml.then(call, {"error": nvml.NVML_ERROR_GPU_IS_LOST})
    lost, other = found.uses(0)
    assert (lost.device_id, lost.lost, lost.temperature_celsius, lost.memory_total_bytes) == (
        A10G,
        "GPU is lost",
        None,
        0,
    )
    assert (other.device_id, other.lost, other.temperature_celsius) == (T4, "", 40.0)


def test_what_may_not_be_read_is_absent_is_not_asked_again_and_is_said_once(
    probe: Callable[[Replay], NvmlProbe], capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = replay("tesla-t4")
    call = "nvmlDeviceGetComputeRunningProcesses(gpu0)"
    nvml.then(call, {"error": nvml.NVML_ERROR_NO_PERMISSION}, {"list": []})
    found = probe(nvml)
    for _ in range(3):
        (use,) = found.uses(0)
        assert use.processes == ()
    assert nvml.given[call] == 1
    assert capsys.readouterr().out.count("this may not be read") == 1


def test_a_passing_failure_is_asked_again(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("tesla-t4")
    nvml.then("nvmlDeviceGetPowerUsage(gpu0)", {"error": nvml.NVML_ERROR_UNKNOWN}, {"value": 26780})
    found = probe(nvml)
    assert [use.power_watts for _ in range(2) for use in found.uses(0)] == [None, 26.78]


def test_a_driver_that_asks_for_a_reset_and_memory_that_cannot_be_mended_are_told(
    probe: Callable[[Replay], NvmlProbe],
) -> None:
    nvml = replay("rtx-4000-sff-ada")
    (well,) = probe(nvml).uses(0)
    assert (well.recovery, well.remap_failed) == ("", False)
    wanted = {"nvmlReturn": {"value": 0}, "value": {"struct": {"uiVal": {"value": 1}}}}
    nvml.then("nvmlDeviceGetFieldValues(gpu0, (230,))", {"list": [{"struct": wanted}]})
    nvml.then("nvmlDeviceGetRemappedRows(gpu0)", {"list": [{"value": one} for one in (0, 8, 0, 1)]})
    (sick,) = probe(nvml).uses(0)
    assert (sick.recovery, sick.remap_failed) == ("gpu_reset", True)
    nvml.then("nvmlDeviceGetFieldValues(gpu0, (230,))", {"error": nvml.NVML_ERROR_FUNCTION_NOT_FOUND})
    (older,) = probe(nvml).uses(0)
    assert older.recovery == ""


def test_memory_is_measured_by_an_older_driver_too(probe: Callable[[Replay], NvmlProbe]) -> None:
    nvml = replay("tesla-t4")
    version = f"nvmlDeviceGetMemoryInfo(gpu0, {nvml.nvmlMemory_v2})"
    nvml.then("nvmlDeviceGetMemoryInfo(gpu0)", *nvml.answers[version])
    nvml.then(version, {"error": nvml.NVML_ERROR_FUNCTION_NOT_FOUND})
    (use,) = probe(nvml).uses(0)
    assert use.memory_total_bytes == 15360 * MIB


def test_nvml_is_closed_in_the_end() -> None:
    nvml = replay("a10g")
    with ExitStack() as closing:
        NvmlProbe(nvml, closing)
        assert nvml.open
    assert not nvml.open


def test_a_recording_of_a_replay_is_the_same_recording(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("nvml") / "again.json"
    original = load(RECORDINGS / "a100-sxm4.json")
    recorder = Recorder(listening(replay("a100-sxm4"), 0))
    with ExitStack() as closing:
        probe = NvmlProbe(recorder, closing)
        described, used = probe.gpus(), probe.uses(0)
    save(file, {"device": "again", "answers": recorder.answers})
    again = load(file)
    same = original["answers"].keys() & again["answers"].keys()
    assert len(same) > 30
    assert all(again["answers"][call][0] == original["answers"][call][0] for call in same)
    with ExitStack() as closing:
        probe = NvmlProbe(Replay(again), closing)
        assert (probe.gpus(), probe.uses(0)) == (described, used)


def test_a_recording_does_not_make_answers_up() -> None:
    nvml = replay("a10g")
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    with pytest.raises(AssertionError, match=r"no answer to nvmlDeviceGetFanSpeed\(gpu0\)"):
        nvml.nvmlDeviceGetFanSpeed(device)


@pytest.mark.gpu
def test_a_real_gpu_is_described_and_measured() -> None:
    with ExitStack() as closing:
        probe = NvmlProbe(pynvml, closing)
        gpus, uses = probe.gpus(), probe.uses(0)
    assert gpus
    assert [gpu.uuid for gpu in gpus] == [use.device_id for use in uses]
    for gpu, use in zip(gpus, uses, strict=True):
        print(gpu, use)
        assert gpu.name
        assert gpu.memory_bytes == use.memory_total_bytes > use.memory_used_bytes >= 0
        assert use.lost == ""
