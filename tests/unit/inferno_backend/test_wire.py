"""Node values become registration messages."""

from __future__ import annotations

from dataclasses import replace

from inferno.registration.v1 import node_pb2
from inferno_backend.node import (
    Condition,
    Disk,
    Endpoints,
    Gpu,
    Hardware,
    Identity,
    MigInstance,
    Model,
    ModelLoad,
    ModelState,
    ModelVersion,
    NodeState,
)
from inferno_backend.wire import load_message, node_message

IDENTITY = Identity(
    "n1",
    7,
    Hardware(
        8,
        1024,
        (Gpu("GPU-1", "H100", 80, "9.0", "00000000:01:00.0", 5, 16, 8, 18, True, (MigInstance("MIG-1", "1g", 10),)),),
        cpu_model="EPYC",
        cpu_quota=1.5,
        memory_limit_bytes=512,
        disks=(Disk("data", "/var", 9, 4),),
        driver_version="595.84",
        cuda_version="13.2",
        gpu_remark="One is gone.",
    ),
    "0.1.0",
    price_micros_per_hour=3_600_000,
    region="us-east-1",
    zone="us-east-1a",
    labels={"team": "vision"},
    provider="aws",
    instance_type="p5",
    instance_id="i-1",
    spot=True,
)
STATE = NodeState(
    Condition.DRAINING,
    "The node stops.",
    Endpoints("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    (
        Model(
            "m",
            (ModelVersion("1", ModelState.UNAVAILABLE, "no weights"),),
            True,
            True,
            8,
            2,
            "python",
            lost_processes=2,
        ),
    ),
    "2.51.0",
)


def test_a_node_keeps_every_fact_on_the_wire() -> None:
    assert node_message(IDENTITY, STATE) == node_pb2.Node(
        node_id="n1",
        incarnation=7,
        grpc_address="127.0.0.1:1",
        http_address="127.0.0.1:2",
        region="us-east-1",
        zone="us-east-1a",
        labels={"team": "vision"},
        hardware=node_pb2.Hardware(
            cpu_count=8,
            memory_bytes=1024,
            gpus=[
                node_pb2.Gpu(
                    uuid="GPU-1",
                    name="H100",
                    memory_bytes=80,
                    compute_capability="9.0",
                    pci_bus_id="00000000:01:00.0",
                    pcie_generation=5,
                    pcie_width=16,
                    pcie_current_width=8,
                    nvlinks=18,
                    mig_enabled=True,
                    mig_instances=[node_pb2.MigInstance(uuid="MIG-1", name="1g", memory_bytes=10)],
                )
            ],
            cpu_model="EPYC",
            cpu_quota=1.5,
            memory_limit_bytes=512,
            disks=[node_pb2.Disk(purpose="data", folder="/var", total_bytes=9, free_bytes=4)],
            driver_version="595.84",
            cuda_version="13.2",
            gpu_remark="One is gone.",
            provider="aws",
            instance_type="p5",
        ),
        price_micros_per_hour=3_600_000,
        models=[
            node_pb2.Model(
                name="m",
                versions=[
                    node_pb2.ModelVersion(version="1", state=node_pb2.MODEL_STATE_UNAVAILABLE, reason="no weights")
                ],
                stateful=True,
                decoupled=True,
                max_batch_size=8,
                instance_count=2,
                platform="python",
                lost_processes=2,
            )
        ],
        server_version="2.51.0",
        agent_version="0.1.0",
        spot=True,
        instance_id="i-1",
        condition=node_pb2.NODE_CONDITION_DRAINING,
        condition_reason="The node stops.",
    )


def test_others_are_told_the_advertised_host() -> None:
    elsewhere = Identity("n1", 7, Hardware(1, 1), "0.1.0", advertise_host="fd00::7")
    message = node_message(elsewhere, NodeState(endpoints=Endpoints("127.0.0.1:1")))
    assert message.grpc_address == "[fd00::7]:1"
    assert not message.http_address
    named = Identity("n1", 7, Hardware(1, 1), "0.1.0", advertise_host="gpu-7")
    assert node_message(named, NodeState(endpoints=Endpoints("[::1]:1"))).grpc_address == "gpu-7:1"


def test_every_state_and_condition_has_its_number() -> None:
    for condition in Condition:
        assert node_message(IDENTITY, NodeState(condition)).condition != node_pb2.NODE_CONDITION_UNSPECIFIED
    for state in ModelState:
        model = Model("m", (ModelVersion("1", state),))
        (told,) = node_message(IDENTITY, NodeState(models=(model,))).models[0].versions
        assert told.state != node_pb2.MODEL_STATE_UNSPECIFIED


def test_load_keeps_every_fact_on_the_wire() -> None:
    assert load_message([ModelLoad("m", 1, 2, 3, 4, 5, 6.5)]) == node_pb2.Load(
        models=[
            node_pb2.ModelLoad(
                model="m", queued=1, completed=2, failed=3, latency_micros=4, service_micros=5, executing=6.5
            )
        ]
    )


def test_a_node_behind_tls_is_reached_at_its_doors() -> None:
    behind = replace(IDENTITY, doors=Endpoints("0.0.0.0:7", "0.0.0.0:8"), advertise_host="10.0.0.7")
    message = node_message(behind, STATE)
    assert (message.grpc_address, message.http_address, message.tls) == ("10.0.0.7:7", "10.0.0.7:8", True)
    assert not node_message(behind, replace(STATE, endpoints=Endpoints("127.0.0.1:1"))).http_address
