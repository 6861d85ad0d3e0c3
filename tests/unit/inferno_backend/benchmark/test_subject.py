"""When two results are about the same thing."""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc import model_config_pb2

from inferno_backend.benchmark.subject import (
    configuration_hash,
    cpu_name,
    files_hash,
    machine,
    settings_of,
)
from inferno_backend.node import Gpu, Hardware


def test_a_machine_is_known_by_its_processor_memory_and_kinds_of_gpu() -> None:
    gpus = (Gpu("GPU-1", "NVIDIA L4", 24), Gpu("GPU-2", "NVIDIA L4", 24))
    one = machine(Hardware(8, 32 << 30, gpus), "EPYC")
    other = machine(Hardware(8, (32 << 30) - 4096, (gpus[1], Gpu("GPU-3", "NVIDIA L4", 24))), "EPYC")
    assert one == other
    assert one.name == "8 × EPYC, 32 GiB, 2 × NVIDIA L4"
    assert machine(Hardware(8, 32 << 30, gpus[:1]), "EPYC").key != one.key


def test_the_processor_has_the_kernels_name_for_it_or_that_of_its_kind(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast One\n")
    assert cpu_name(info) == "Fast One"
    assert cpu_name(tmp_path / "none")


def test_a_models_files_count_by_name_and_content_and_its_configuration_does_not(tmp_path: Path) -> None:
    version = tmp_path / "1"
    version.mkdir()
    (version / "model.py").write_text("a")
    before = files_hash(tmp_path)
    (tmp_path / "config.pbtxt").write_text("max_batch_size: 8")
    (tmp_path / "config.pbtxt.before").write_text("max_batch_size: 4")
    (version / "__pycache__").mkdir()
    (version / "__pycache__" / "model.pyc").write_text("x")
    (version / ".hidden").write_text("x")
    assert files_hash(tmp_path) == before
    (version / "model.py").write_text("b")
    changed = files_hash(tmp_path)
    (version / "model.py").rename(version / "weights")
    assert len({before, changed, files_hash(tmp_path)}) == 3


def test_a_configuration_is_told_in_the_words_that_people_tune() -> None:
    config = model_config_pb2.ModelConfig(name="m")
    plain = configuration_hash(config)
    assert settings_of(config) == "1 instance"
    config.instance_group.add(count=2, gpus=[0, 1])
    config.max_batch_size = 8
    config.dynamic_batching.max_queue_delay_microseconds = 100
    assert settings_of(config) == "4 instances; batches up to 8; dynamic batching within 100 µs"
    config.dynamic_batching.preferred_batch_size.extend([4, 8])
    assert settings_of(config).endswith(", preferably 4,8")
    assert configuration_hash(config) != plain
