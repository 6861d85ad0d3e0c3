"""Malformed messages of every protocol that the mesh speaks; the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from tritonclient.grpc import service_pb2

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno_proxy.resources.packing import delimited

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_DOCUMENTS = (
    {"node_id": "no name", "grpc_address": "127.0.0.1:1", "models": ["x"], "lease_duration": "30s"},
    {"inputs": [{"name": "hold_ms", "shape": [1], "datatype": "FP32", "data": [0]}], "parameters": {"a": 1}},
    {"node": {"node_id": 7, "labels": {"a": "b"}}, "lease_duration": 1e308},
)


def infer() -> bytes:
    """A call of a model."""
    request = service_pb2.ModelInferRequest(model_name="whoami")
    request.inputs.add(name="hold_ms", datatype="FP32", shape=[1]).contents.fp32_contents.append(0)
    return bytes(request.SerializeToString())


def _node() -> node_pb2.Node:
    ready = node_pb2.ModelVersion(version="1", state=node_pb2.MODEL_STATE_READY)
    return node_pb2.Node(
        node_id="no-name",
        grpc_address="127.0.0.1:1",
        incarnation=1,
        labels={"a": "b"},
        models=[node_pb2.Model(name="m", versions=[ready], max_batch_size=8)],
    )


def register() -> bytes:
    """A first word of an agent."""
    return registration.RegisterRequest(node=_node(), revision=1).SerializeToString()


def announce() -> bytes:
    """An announcement of a node without an agent."""
    return registration.AnnounceRequest(node=_node()).SerializeToString()


def discovery(kind: str) -> bytes:
    """A first request of an xDS client in the state of the world. Field numbers: xds/wire.py."""
    node = delimited(1, b"no-name") + delimited(6, b"envoy")
    return delimited(2, node) + delimited(3, b"model/m/grpc") + delimited(4, kind.encode())


def delta_discovery(kind: str) -> bytes:
    """The same of a client that takes deltas."""
    node = delimited(1, b"no-name") + delimited(6, b"envoy")
    held = delimited(1, b"model/m/grpc") + delimited(2, b"17")
    return delimited(1, node) + delimited(2, kind.encode()) + delimited(3, b"model/m/grpc") + delimited(5, held)


_MESSAGES: tuple[Callable[[], bytes], ...] = (infer, register)


class Garbage:
    """Malformed bytes; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - noise, not secrets

    def spoiled(self, data: bytes) -> bytes:
        """Some bytes changed, cut out, put in or repeated."""
        out = bytearray(data or b"\0")
        for _ in range(self.chance.randint(1, 6)):
            at = self.chance.randrange(len(out) + 1)
            match self.chance.randrange(5):
                case 0:
                    out[at : at + 1] = self.chance.randbytes(1)
                case 1:
                    del out[at : at + self.chance.randint(1, 8)]
                case 2:
                    out[at:at] = self.chance.randbytes(self.chance.randint(1, 16))
                case 3:
                    out[at:at] = b"\xff\xfe\xc3\x28"  # not UTF-8
                case _:
                    out[at:at] = bytes(out[at : at + 64]) * self.chance.randint(1, 50)
        return bytes(out)

    def message(self) -> bytes:
        """A protobuf message that is not quite one, made of what the services take."""
        return self.unlike(self.chance.choice(_MESSAGES)())

    def unlike(self, whole: bytes) -> bytes:
        """Not quite this message."""
        match self.chance.randrange(4):
            case 0:
                return self.chance.randbytes(self.chance.randint(0, 2000))
            case 1:
                return b"\x0a\x04\xff\xfe\xc3\x28" + whole
            case 2:
                return b"\x12\xff\xff\xff\xff\x0f" + whole  # a field of 4 GiB
            case _:
                return self.spoiled(whole)

    def document(self) -> bytes:
        """A JSON document that is not quite one."""
        whole = json.dumps(self.chance.choice(_DOCUMENTS)).encode()
        match self.chance.randrange(4):
            case 0:
                return b"[" * self.chance.randint(1, 100_000)
            case 1:
                return whole.replace(b'"', b"\xff", 1)
            case 2:
                return b'{"node_id": ' + b"9" * self.chance.randint(1, 10_000) + b"}"
            case _:
                return self.spoiled(whole)

    def http1(self) -> bytes:
        """A request of HTTP/1 that is not quite one."""
        whole = b"POST /v2/models/whoami/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
        match self.chance.randrange(5):
            case 0:
                return whole.replace(b"content-length: 2", b"content-length: -1")
            case 1:
                return whole.replace(b"host: x", b"host: x\r\ntransfer-encoding: chunked")
            case 2:
                return whole.replace(b"host: x", b"x: " + b"a" * self.chance.randint(1, 200_000))
            case 3:
                return whole.replace(b"host: x", b"\r\n".join([b"a: b"] * self.chance.randint(1, 500)))
            case _:
                return self.spoiled(whole)

    def http2(self) -> bytes:
        """Frames of HTTP/2 at random behind a preface."""
        out = bytearray(_PREFACE)
        for _ in range(self.chance.randint(1, 50)):
            body = self.chance.randbytes(self.chance.randint(0, 100))
            length = len(body) if self.chance.random() < 0.9 else self.chance.getrandbits(24)
            stream = self.chance.choice((0, 1, 3, 2, self.chance.getrandbits(31)))
            kind = self.chance.randrange(12)
            out += length.to_bytes(3) + bytes((kind, self.chance.getrandbits(8))) + stream.to_bytes(4) + body
        return bytes(out)
