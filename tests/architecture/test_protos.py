"""The contract other languages read is the one the wire speaks."""

from __future__ import annotations

import subprocess
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2

from tests.architecture import tree


def test_the_protos_follow_the_style_of_buf() -> None:
    done = subprocess.run(["buf", "lint"], cwd=tree.ROOT, check=False, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def wire(files: list[FileDescriptorProto]) -> dict[str, Any]:
    """All that two programs must agree on: messages by field number, enums by value, services by method."""
    found: dict[str, Any] = {}

    def message(prefix: str, proto: DescriptorProto) -> None:
        name = f"{prefix}.{proto.name}"
        found[name] = {
            field.number: (
                field.name, field.type, field.label, field.type_name, field.proto3_optional,
                proto.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "",
            )
            for field in proto.field
        }  # fmt: skip
        for enum in proto.enum_type:
            found[f"{name}.{enum.name}"] = {value.number: value.name for value in enum.value}
        for nested in proto.nested_type:
            message(name, nested)

    for file in files:
        for proto in file.message_type:
            message(file.package, proto)
        for enum in file.enum_type:
            found[f"{file.package}.{enum.name}"] = {value.number: value.name for value in enum.value}
        for service in file.service:
            found[f"{file.package}.{service.name}"] = {
                method.name: (method.input_type, method.output_type, method.client_streaming, method.server_streaming)
                for method in service.method
            }
    return found


def test_the_open_inference_protocol_is_wire_compatible_with_the_client_everyone_uses() -> None:
    built = subprocess.run(
        ["buf", "build", "--path", "protos/inference", "-o", "-#format=binpb"],
        cwd=tree.ROOT, check=True, capture_output=True,
    )  # fmt: skip
    ours = [file for file in FileDescriptorSet.FromString(built.stdout).file if file.package == "inference"]
    theirs = []
    for module in (service_pb2, model_config_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        theirs.append(file)
    expected = wire(theirs)
    assert len(expected) > 100
    assert wire(ours) == expected
