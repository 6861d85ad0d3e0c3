"""The command line and environment Triton is started with: a pure function of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferno_backend.guarded import Command
from inferno_backend.triton import stream_gauge
from inferno_backend.triton.installation import Installation, library_path
from inferno_backend.triton.streams import pages_prefix


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a Triton listens: a host and three ports."""

    host: str
    grpc: int
    http: int
    metrics: int


def command(
    installation: Installation,
    *,
    repository: str,
    models: Sequence[str] | None,
    ports: Ports,
    backends: Path | None,
    shm_prefix: str,
    exit_seconds: int,
    env: Mapping[str, str],
) -> Command:
    """Build the command.

    Args:
        installation: Which Triton.
        repository: Model repository, a folder or the address of an object store.
        models: Models to load at start; None for all of them.
        ports: Where to listen.
        backends: Our copy of the backends; None for Triton's own.
        shm_prefix: Begins the name of each shared memory region, so that they can be found and removed.
        exit_seconds: How long Triton waits for running work once it was told to end.
        env: The environment to build on.
    """
    argv = [
        str(installation.binary),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in (["*"] if models is None else models)),
        # One model that does not load must not take the others with it, nor the health of the whole server.
        "--exit-on-error=false",
        "--strict-readiness=false",
        f"--exit-timeout-secs={exit_seconds}",
        f"--grpc-address={ports.host}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={ports.host}",
        f"--http-port={ports.http}",
        f"--metrics-address={ports.host}",
        f"--metrics-port={ports.metrics}",
        # Envoy pings every 0.5 s to find a hung server; at Triton's defaults a call of 12 s dies after 4.6 s with
        # "Too many pings".
        "--grpc-http2-max-ping-strikes=0",
        "--grpc-http2-min-recv-ping-interval-without-data=500",
        "--grpc-keepalive-permit-without-calls=true",
        "--metrics-config=summary_latencies=true",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
    ]
    if backends is not None:
        argv.append(f"--backend-directory={backends}")
    if installation.cache_bytes:
        argv.append(f"--cache-config=local,size={installation.cache_bytes}")
        if installation.caches is not None:
            argv.append(f"--cache-directory={installation.caches}")
    made = _environment(installation, env)
    if backends is not None and shm_prefix:
        made[stream_gauge.VARIABLE] = pages_prefix(shm_prefix)
    return Command(tuple(argv), made)


def _environment(installation: Installation, env: Mapping[str, str]) -> dict[str, str]:
    # Readiness is the agent's to tell, and what measures our own Python does not belong into a model's.
    made = {key: value for key, value in env.items() if key != "NOTIFY_SOCKET" and not key.startswith("COVERAGE_")}
    if installation.libraries:
        made["LD_LIBRARY_PATH"] = library_path(installation.libraries, env)
    if installation.python is not None:
        made["PATH"] = f"{installation.python}:{env.get('PATH', '/usr/bin:/bin')}"
    return made
