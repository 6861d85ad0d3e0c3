"""AWS on loopback: moto's server in a process of its own, and what boto3 is told so that it asks nobody else."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferno_runtime.process import free_port
from tests.waiting import eventually_sync

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "not-secret"}


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """A server that behaves like AWS; yields its address."""
    port = free_port()
    program = str(Path(sys.executable).with_name("moto_server"))
    silent = subprocess.DEVNULL
    with subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=silent, stderr=silent) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            eventually_sync(lambda: _answers(address), 60, "moto answers")
            yield address
        finally:
            server.kill()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def forget_all(address: str) -> None:
    """Make the server as it was when it started."""
    asked = urllib.request.Request(f"{address}/moto-api/reset", method="POST")
    with urllib.request.urlopen(asked, timeout=10):
        pass


def point_at(monkeypatch: pytest.MonkeyPatch, address: str, folder: Path) -> None:
    """Have boto3 ask ``address`` with made-up credentials, whatever this machine knows of AWS."""
    without_credentials(monkeypatch, folder)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", address)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def without_credentials(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have boto3 find nothing on this machine."""
    for name in (*CREDENTIALS, "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-aws-credentials"))
