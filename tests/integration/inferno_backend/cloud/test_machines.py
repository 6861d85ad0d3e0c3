"""What clouds say of their machines, by stand-ins for their metadata services."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from benchmarks.metadata_service import metadata_service
from inferno_backend.cloud.asking import found
from inferno_backend.cloud.machine import UNKNOWN, Asked, Machine
from inferno_runtime.clock import SystemClock

MACHINES: dict[Asked, Machine] = {
    "aws": Machine("aws", "us-west-2", "us-west-2b", "g6.xlarge", "i-1234567890abcdef0", spot=True),
    "gcp": Machine(
        "gcp", "europe-west4", "europe-west4-b", "g2-standard-4", "7045908513521312873", spot=True, name="gpu-7"
    ),
    "azure": Machine(
        "azure",
        "westeurope",
        "westeurope-2",
        "Standard_NC4as_T4_v3",
        "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
        spot=True,
        name="gpu-7",
    ),
}


async def told(asked: Asked, address: str, firmware: Path = Path("/nowhere")) -> Machine:
    async with found(asked, address, SystemClock(), firmware) as (machine, _):
        return machine


@pytest.mark.parametrize("provider", list(MACHINES))
async def test_each_cloud_is_asked_in_its_own_way(provider: Asked) -> None:
    async with metadata_service() as service:
        assert await told(provider, service.address) == MACHINES[provider]


async def test_a_machine_that_nobody_may_take_back_is_not_called_spot() -> None:
    async with metadata_service() as service:
        service.life_cycle, service.azure["priority"], service.azure["zone"] = "on-demand", "Regular", ""
        service.gcp["scheduling/preemptible"] = "FALSE"
        assert [(await told(each, service.address)).spot for each in MACHINES] == [False, False, False]
        assert (await told("azure", service.address)).zone == ""
        del service.gcp["scheduling/preemptible"]
        service.azure["priority"], service.life_cycle = "", ""
        assert [(await told(each, service.address)).spot for each in MACHINES] == [None, None, None]


async def test_the_firmware_says_whom_to_ask_and_any_other_machine_asks_nobody(tmp_path: Path) -> None:
    names = {
        "aws": {"sys_vendor": "Amazon EC2"},
        "gcp": {"product_name": "Google Compute Engine"},
        "azure": {"chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
        "xen": {"sys_vendor": "Xen", "bios_version": "4.11.amazon"},
        "desktop": {"sys_vendor": "Dell Inc.", "chassis_asset_tag": ""},
    }
    for machine, files in names.items():
        (tmp_path / machine).mkdir()
        for name, text in files.items():
            (tmp_path / machine / name).write_text(f"{text}\n")
    async with metadata_service() as service:
        assert await told("auto", service.address, tmp_path / "desktop") == UNKNOWN
        assert await told("auto", service.address, tmp_path / "nothing") == UNKNOWN
        assert await told("off", service.address, tmp_path / "aws") == UNKNOWN
        assert not service.asked
        for machine in ("aws", "gcp", "azure", "xen"):
            provider = (await told("auto", service.address, tmp_path / machine)).provider
            assert provider == {"xen": "aws"}.get(machine, machine)


async def test_a_service_that_is_silent_refuses_or_is_somebody_elses_leaves_the_machine_unknown() -> None:
    async with metadata_service() as service:
        for wrong, said in (("silent", "too late"), ("closed", "403")):
            setattr(service, wrong, True)
            for provider in MACHINES:
                with capture_logs() as lines:
                    assert await told(provider, service.address) == Machine(provider)
                assert said in lines[0]["error"], lines
                assert lines[0]["log_level"] == "warning"
            setattr(service, wrong, False)
        service.aws.clear()
        assert (await told("aws", service.address)).instance_id == ""
    with capture_logs() as lines:
        assert await told("gcp", "127.0.0.1:1") == Machine("gcp")
    assert "does not answer" in lines[0]["error"]
