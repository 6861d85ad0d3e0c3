"""How Triton is started."""

from __future__ import annotations

from pathlib import Path

from inferno_backend.guarded import Command
from inferno_backend.triton import process, stream_gauge
from inferno_backend.triton.command import Ports, command
from inferno_backend.triton.installation import Installation

PORTS = Ports("127.0.0.1", 1, 2, 3)


def made(
    *models: str,
    every: bool = False,
    ports: Ports = PORTS,
    prefix: str = "inferno-x-",
    backends: Path | None = None,
    **env: str,
) -> Command:
    return command(
        Installation(Path("/opt/tritonserver/bin/tritonserver")),
        repository="/models",
        models=None if every else models,
        ports=ports,
        backends=backends,
        shm_prefix=prefix,
        exit_seconds=5,
        env=env,
    )


def test_models_are_loaded_by_name_or_all_of_them_or_none() -> None:
    assert [word for word in made("a", "b").argv if "load-model" in word] == ["--load-model=a", "--load-model=b"]
    assert [word for word in made(every=True).argv if "load-model" in word] == ["--load-model=*"]
    assert not [word for word in made().argv if "load-model" in word]
    assert "--model-control-mode=explicit" in made().argv


def test_one_bad_model_takes_nothing_with_it_and_pings_are_welcome() -> None:
    argv = made().argv
    assert {"--exit-on-error=false", "--strict-readiness=false"} <= set(argv)
    assert {
        "--grpc-http2-max-ping-strikes=0",
        "--grpc-http2-min-recv-ping-interval-without-data=500",
        "--grpc-keepalive-permit-without-calls=true",
    } <= set(argv)


def test_shared_memory_carries_our_prefix_and_backends_come_from_our_copy() -> None:
    argv = made(backends=Path("/data/backends")).argv
    assert "--backend-config=python,shm-region-prefix-name=inferno-x-" in argv
    assert "--backend-directory=/data/backends" in argv


def test_answers_are_kept_where_there_is_room_for_them() -> None:
    def with_cache(found: Installation) -> list[str]:
        made_of = command(
            found,
            repository="/models",
            models=(),
            ports=PORTS,
            backends=None,
            shm_prefix="",
            exit_seconds=5,
            env={},
        )
        return [word for word in made_of.argv if "cache" in word]

    own = Path("/opt/tritonserver/bin/tritonserver")
    assert with_cache(Installation(own)) == []
    assert with_cache(Installation(own, cache_bytes=7)) == ["--cache-config=local,size=7"]
    wheel = Path("/wheel/pytriton/tritonserver")
    assert Installation(own, wheel).caches == wheel / "caches"


def test_readiness_and_coverage_stay_ours() -> None:
    env = made(NOTIFY_SOCKET="/run/n", COVERAGE_PROCESS_CONFIG="x", LD_LIBRARY_PATH="/mine", HOME="/h").env
    assert env == {"LD_LIBRARY_PATH": "/mine", "HOME": "/h"}


def test_the_streams_of_our_copy_of_the_backends_are_followed_and_their_pages_go_with_the_shared_memory() -> None:
    assert made(backends=Path("/b")).env == {stream_gauge.VARIABLE: "/dev/shm/inferno-x-streams-"}
    assert made().env == {}


def test_a_triton_is_known_again_whatever_ports_it_got() -> None:
    one = process.fingerprint(made("a"))
    assert one == process.fingerprint(made("a", ports=Ports("127.0.0.1", 7, 8, 9), prefix="inferno-y-"))
    assert one != process.fingerprint(made("b"))


def test_a_triton_on_every_address_is_reached_on_loopback() -> None:
    assert process.endpoints_of(Ports("0.0.0.0", 1, 2, 3)).grpc == "127.0.0.1:1"
    assert process.endpoints_of(Ports("::", 1, 2, 3)).http == "[::1]:2"
    assert process.endpoints_of(Ports("gpu-7", 1, 2, 3)).metrics == "gpu-7:3"
