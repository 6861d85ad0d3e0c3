"""Reading a few fields of large protobuf messages, by protobuf's C parser and without their generated modules.

The messages that matter here come from Envoy's API: importing it takes 0.4 s and its Python parser a hundred times
longer than this. Only field numbers and types are described; everything else on the wire is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# message -> field -> (number, kind): "string", "bytes", "int" or the name of another message, with "*" for a repeated
# field. A map is a repeated message with fields 1 and 2 on the wire, and is described as one.
Description = Mapping[str, Mapping[str, tuple[int, str]]]

_SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "int": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
}


def messages(package: str, description: Description) -> Callable[[str], Any]:
    """Make message classes of a description; the result gives the class for a name.

    They live in a pool of their own, because the process may hold the complete messages as well.
    """
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, fields in description.items():
        entry = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            word = kind.removesuffix("*")
            added = entry.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if kind.endswith("*") else added.LABEL_OPTIONAL
            added.type = _SCALARS.get(word, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE)
            if word not in _SCALARS:
                added.type_name = f".{package}.{word}"
    pool.Add(file)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in description
    }
    return classes.__getitem__
