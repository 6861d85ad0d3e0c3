"""What a registration must look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.fleet import Address, Disk, Gpu, Hardware, MigInstance, Model, ModelState, ModelVersion
from inferno_proxy.registry.admission import Limits, check
from inferno_runtime.errors import InvalidInput
from tests.unit.inferno_proxy.nodes import model, node

FORBIDDEN = {chr(code) for code in (*range(0x21), 0x7F)} | set("/\\?#%")
LIMITS = Limits(reserved={Address("127.0.0.1", 8080): "the mesh's own public port"})


def refused(**fields: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as error:
        check(node(**fields), LIMITS)
    return error.value


@pytest.mark.parametrize("node_id", ["a", "gpu-7", "a.b_c-D9", "x" * 128])
def test_an_ordinary_node_is_let_in(node_id: str) -> None:
    check(node(node_id, http_address=Address("10.0.0.1", 8000), labels={"k": "v"}), LIMITS)


def test_a_node_that_takes_tls_needs_a_proxy_with_an_identity() -> None:
    assert refused(tls=True).metadata["field"] == "tls"
    check(node(tls=True), Limits(secured=True))


@pytest.mark.parametrize("node_id", ["", "x" * 129, "a b", "a/b", "ä", "a\n"])
def test_a_bad_name_is_refused(node_id: str) -> None:
    assert refused(node_id=node_id).metadata["field"] == "node_id"


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("169.254.169.254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("fe80::1", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("255.255.255.255", "broadcast"),
        ("example", "IP address"),
    ],
)
def test_an_address_no_node_can_have_is_refused(host: str, word: str) -> None:
    with pytest.raises(InvalidInput, match=word) as error:
        check(node(http_address=Address(host, 80)), LIMITS)
    assert error.value.metadata["field"] == "http_address"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1", "fd00::1", "203.0.113.9"])
def test_loopback_private_and_public_addresses_are_let_in(host: str) -> None:
    check(node(http_address=Address(host, 80)), LIMITS)


def test_the_mesh_is_no_node_of_itself() -> None:
    assert "own public port" in refused(port=8080).message


def test_both_ports_cannot_be_the_same() -> None:
    assert refused(http_address=Address("127.0.0.1", 8001)).metadata["field"] == "http_address"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"incarnation": 0}, "incarnation"),
        ({"incarnation": 2**64}, "incarnation"),
        ({"revision": 0}, "revision"),
        ({"region": "x" * 257}, "region"),
        ({"condition_reason": "x" * 4097}, "condition_reason"),
        ({"labels": {str(n): "" for n in range(65)}}, "labels"),
        ({"labels": {"k": "ä" * 129}}, "labels['k']"),
        ({"labels": {"k" * 257: ""}}, "labels"),
        ({"hardware": Hardware(gpus=(Gpu("u", "n", 1),) * 65)}, "hardware.gpus"),
        ({"hardware": Hardware(gpus=(Gpu("u" * 257, "n", 1),))}, "hardware.gpus[0]"),
        ({"hardware": Hardware(gpus=(Gpu("u", "n", 1, pci_bus_id="x" * 257),))}, "hardware.gpus[0]"),
        (
            {"hardware": Hardware(gpus=(Gpu("u", "n", 1, mig_instances=(MigInstance("m"),) * 65),))},
            "hardware.gpus[0].mig_instances",
        ),
        (
            {"hardware": Hardware(gpus=(Gpu("u", "n", 1, mig_instances=(MigInstance("m" * 257),)),))},
            "hardware.gpus[0].mig_instances",
        ),
        ({"hardware": Hardware(disks=(Disk("data", "/d", 1, 1),) * 17)}, "hardware.disks"),
        ({"hardware": Hardware(disks=(Disk("data", "/" * 4097, 1, 1),))}, "hardware.disks[0]"),
        ({"hardware": Hardware(cpu_model="x" * 257)}, "hardware.cpu_model"),
        ({"hardware": Hardware(gpu_remark="x" * 4097)}, "hardware.gpu_remark"),
        ({"price_micros_per_hour": -1}, "price_micros_per_hour"),
        ({"models": (model("a"), model("a"))}, "models[1].name"),
        ({"models": (model("a b"),)}, "models[0].name"),
        ({"models": tuple(model(f"m{n}") for n in range(1025))}, "models"),
        ({"models": (Model("a", (ModelVersion("1", ModelState.READY),) * 65),)}, "models[0].versions"),
        ({"models": (model("a", platform="x" * 257),)}, "models[0].platform"),
        ({"models": (model("a", version="1" * 257),)}, "models[0].versions"),
        ({"models": (model("a", reason="x" * 4097),)}, "models[0].versions['1'].reason"),
    ],
)
def test_a_refusal_names_the_field(fields: dict[str, Any], field: str) -> None:
    assert refused(**fields).metadata["field"] == field


@given(st.text(max_size=300))
def test_any_model_name_is_let_in_or_refused_by_field(name: str) -> None:
    candidate = node(models=(Model(name),))
    if name and not set(name) & FORBIDDEN and len(name) <= 256:
        check(candidate, LIMITS)
    else:
        with pytest.raises(InvalidInput, match=r"models\[0\]\.name"):
            check(candidate, LIMITS)
