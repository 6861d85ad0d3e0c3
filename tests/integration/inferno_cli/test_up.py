"""``inferno up`` with stand-ins for the components' programs: what it decides, prints and says when it cannot start."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inferno_cli.cloud import opening
from inferno_cli.cloud.up import DEMONSTRATION, Request, decide, up
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InvalidInput, NotFound, TimedOut, Unavailable
from inferno_runtime.lifecycle import Stop, first_inferno_error

STAND_IN = f"""#!{sys.executable}
import signal, sys, time
sys.path[:0] = {sys.path!r}
from inferno_runtime import notify
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("hello from", *sys.argv[1:], flush=True)
"""
READY = "notify.ready(grpc='127.0.0.1:1', models=['m'])\n"
WAIT = "while True:\n    time.sleep(60)\n"
PROGRAMS = ("inferno-governator", "inferno-proxy", "inferno-backend")
Programs = Callable[..., None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Put stand-ins beside the interpreter; each is ready at once unless the test gives it another body."""
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    def write(**bodies: str) -> None:
        for name in PROGRAMS:
            file = tmp_path / name
            file.write_text(STAND_IN + bodies.get(name.removeprefix("inferno-"), READY) + WAIT)
            file.chmod(0o755)

    return write


def _request(data: Path, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "nodes": 0, "model_repository": data, "port": 0, "data_dir": data / "d", "config": None,
        "output": "table", "verbose": False, "timeout": 60.0,
    }  # fmt: skip
    return Request(**(given | changes))


async def _until_printed(capsys: pytest.CaptureFixture[str], word: str) -> tuple[str, str]:
    out, err = "", ""
    async with asyncio.timeout(60):
        while word not in out + err:
            new = capsys.readouterr()
            out, err = out + new.out, err + new.err
            await asyncio.sleep(0.01)
    return out, err


async def test_it_prints_one_json_object_and_runs_until_the_stop(
    programs: Programs, socket_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs()
    stop = Stop()
    running = asyncio.create_task(up(_request(socket_dir, output="json"), stop))
    out, err = await _until_printed(capsys, "endpoint")
    facts = json.loads(out)
    assert out.count("\n") == 1
    assert facts["endpoint"].startswith("127.0.0.1:")
    assert facts["nodes"] == []
    assert facts["data_dir"] == str(socket_dir / "d")
    assert "governator ready in" in err
    stop.request("signal SIGTERM")
    await asyncio.wait_for(running, 30)
    assert "signal SIGTERM: stopping" in capsys.readouterr().err
    assert (socket_dir / "d" / "lock").read_text() == ""


async def test_people_see_what_to_type_and_with_verbose_the_logs(
    programs: Programs, socket_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs()
    stop = Stop()
    running = asyncio.create_task(up(_request(socket_dir, verbose=True), stop))
    out, err = await _until_printed(capsys, "Ctrl-C stops everything.")
    assert "inferno status --endpoint 127.0.0.1:" in out
    if "[proxy] hello from --port" not in err:
        await _until_printed(capsys, "[proxy] hello from --port")
    stop.request("signal SIGINT")
    await asyncio.wait_for(running, 30)


async def test_a_hangup_reaches_the_proxy(
    programs: Programs, socket_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(proxy="signal.signal(signal.SIGHUP, lambda *_: print('reads again', flush=True))\n" + READY)
    stop = Stop()
    running = asyncio.create_task(up(_request(socket_dir, verbose=True), stop))
    await _until_printed(capsys, "Ctrl-C stops everything.")
    os.kill(os.getpid(), signal.SIGHUP)
    await _until_printed(capsys, "[proxy] reads again")
    stop.request("signal SIGINT")
    await asyncio.wait_for(running, 30)


async def test_a_stop_while_starting_is_honoured(
    programs: Programs, socket_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(proxy="")
    stop = Stop()
    running = asyncio.create_task(up(_request(socket_dir), stop))
    await _until_printed(capsys, "governator ready")
    stop.request("signal SIGINT")
    await asyncio.wait_for(running, 30)
    written = capsys.readouterr()
    assert "signal SIGINT while starting: stopping." in written.err
    assert written.out == ""


async def test_a_stop_while_the_port_is_not_open_yet_is_honoured(
    programs: Programs, socket_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs()
    stop = Stop()
    running = asyncio.create_task(up(_request(socket_dir, nodes=1), stop))
    await _until_printed(capsys, "node-1 ready")
    stop.request("signal SIGINT")
    await asyncio.wait_for(running, 30)
    assert "while starting" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bodies", "nodes", "sentence"),
    [({"proxy": ""}, 0, "proxy did not get ready within 3 s"), ({}, 1, r"127\.0\.0\.1:\d+ did not open within 3 s")],
)
async def test_what_takes_too_long_is_named(
    programs: Programs, socket_dir: Path, bodies: dict[str, str], nodes: int, sentence: str
) -> None:
    programs(**bodies)
    with pytest.raises(ExceptionGroup) as caught:
        await up(_request(socket_dir, nodes=nodes, timeout=3.0), Stop())
    error = first_inferno_error(caught.value)
    assert isinstance(error, TimedOut)
    assert re.match(sentence, error.message)
    assert str(socket_dir / "d" / "logs") in error.fix


def test_the_demonstration_model_is_served_unless_another_is_chosen(socket_dir: Path) -> None:
    config = socket_dir / "inferno.yaml"
    config.write_text(f"backend:\n  model_repository: {socket_dir}\n")
    (socket_dir / "other").mkdir()
    given = _request(socket_dir, config=config)
    assert decide(given, {}).model_repository == given.model_repository
    assert decide(_request(socket_dir, config=config, model_repository=None), {}).model_repository == socket_dir
    if DEMONSTRATION.is_dir():
        assert decide(_request(socket_dir, model_repository=None), {}).model_repository == DEMONSTRATION


def test_flags_the_environment_and_the_file_choose_the_port(socket_dir: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    config = socket_dir / "inferno.yaml"
    config.write_text(f"proxy:\n  port: {free}\ngovernator:\n  db: sqlite:////tmp/x.db\n")
    wanted = decide(_request(socket_dir, config=config, port=None), {})
    assert (wanted.port, wanted.own_database, wanted.config) == (free, False, config)
    assert decide(_request(socket_dir, port=None), {"INFERNO_PROXY_PORT": str(free)}).port == free
    assert decide(_request(socket_dir), {}).port > 0


def test_the_data_folder_follows_xdg(socket_dir: Path) -> None:
    wanted = decide(_request(socket_dir, data_dir=None), {"XDG_DATA_HOME": str(socket_dir)})
    assert wanted.folder.path == socket_dir / "inferno"


def test_a_repository_that_is_no_folder_is_refused(socket_dir: Path) -> None:
    with pytest.raises(InvalidInput, match="/no/such/place is not a folder"):
        decide(_request(socket_dir, model_repository=Path("/no/such/place")), {})


@pytest.mark.parametrize(
    ("text", "sentence", "fix"),
    [
        ("proxy:\n  prot: 1\n", r"inferno\.yaml:2: unknown key 'proxy\.prot'", "'port'"),
        ("backend:\n  spott: true\n", r"inferno\.yaml:2: unknown key 'backend\.spott'", "'spot'"),
        ("governator:\n  dbb: x\n", r"inferno\.yaml:2: unknown key 'governator\.dbb'", "'db'"),
    ],
)
def test_a_wrong_key_is_told_before_anything_starts(socket_dir: Path, text: str, sentence: str, fix: str) -> None:
    config = socket_dir / "inferno.yaml"
    config.write_text(text)
    with pytest.raises(InvalidInput, match=sentence) as caught:
        decide(_request(socket_dir, config=config), {})
    assert fix in caught.value.fix
    assert not (socket_dir / "d").exists()


def test_a_configuration_that_is_not_there_is_told(socket_dir: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.yaml cannot be read"):
        decide(_request(socket_dir, config=socket_dir / "none.yaml"), {})


def test_a_taken_port_names_its_holder(socket_dir: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port} is used by pid {os.getpid()}"):
            decide(_request(socket_dir, port=port), {})


class _Ready(http.server.BaseHTTPRequestHandler):
    """Says 503 to the first question about a model and 200 to the next."""

    asked: list[str]

    def do_GET(self) -> None:
        status = 200 if self.path in self.asked else 503
        self.asked.append(self.path)
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface's name
        """Stay quiet."""


@pytest.fixture
def rest() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (_Ready,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


async def test_a_mesh_is_open_once_every_model_answers(rest: tuple[str, list[str]]) -> None:
    endpoint, asked = rest
    async with asyncio.timeout(60):
        await opening.wait_until_open(endpoint, (), ["a", "b"], SystemClock())
    assert asked == ["/v2/models/a/ready"] * 2 + ["/v2/models/b/ready"] * 2


async def test_a_port_nobody_listens_on_is_not_open() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await opening.wait_until_open("127.0.0.1:1", (), ["a"], SystemClock())


def test_nodes_are_not_started_before_a_port_that_refuses_them(socket_dir: Path) -> None:
    config = socket_dir / "inferno.yaml"
    config.write_text(f'proxy:\n  clients: {{team: {{keys: ["sha256:{"a" * 64}"]}}}}\n')
    with pytest.raises(InvalidInput, match="close the public port") as refused:
        decide(_request(socket_dir, config=config, nodes=1), {})
    assert refused.value.reason == "CLOSED_PORT"
    assert decide(_request(socket_dir, config=config), {}).nodes == 0


def governed(data: Path, **changes: Any) -> Request:
    model = data / "models" / "m"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text('backend: "python"')
    (model / "1" / "model.py").write_text("")
    given = {"governator": "act", "provider": "local", "max_nodes": 3, "model_repository": data / "models"}
    return _request(data, **(given | changes))


async def test_a_governator_with_nodes_of_its_own_gets_a_pool_beside_what_the_file_says(
    programs: Programs, socket_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(governator="import os\nprint('leash', os.environ['INFERNO_GOVERNATOR_LEASH_FD'], flush=True)\n" + READY)
    config = socket_dir / "inferno.yaml"
    config.write_text(
        "governator:\n  decide_seconds: 3\n  pools:\n    local: {provider: local, models: [m], capacity: {m: 5}}\n"
        "    away: {provider: webhook, models: [m]}\n"
    )
    stop = Stop()
    running = asyncio.create_task(up(governed(socket_dir, config=config, verbose=True), stop))
    _, err = await _until_printed(capsys, "Ctrl-C stops everything.")
    if "[governator] leash" not in err:
        _, more = await _until_printed(capsys, "[governator] leash")
        err += more
    file = socket_dir / "d" / "governator" / "settings.yaml"
    found = json.loads(file.read_text())["governator"]
    assert found["decide_seconds"] == 3
    assert set(found["pools"]) == {"local", "away"}
    local = found["pools"]["local"]
    assert (local["models"], local["min"], local["max"], local["act"]) == (["m"], 0, 3, True)
    assert (local["capacity"], local["options"]["model_repository"]) == ({"m": 5}, str(socket_dir / "models"))
    words = re.search(r"\[governator\] hello from (.*)", err)
    if words is None:
        words = re.search(r"hello from (.*)", (socket_dir / "d" / "logs" / "governator.log").read_text())
    assert words is not None
    assert f"--config {file}" in words.group(1)
    assert f"--mode act --local-dir {socket_dir / 'd' / 'nodes'}" in words.group(1)
    stop.request("signal SIGINT")
    await asyncio.wait_for(running, 30)


async def test_a_first_node_of_the_governators_that_cannot_start_is_told_in_its_own_words(
    programs: Programs, socket_dir: Path
) -> None:
    programs(backend="print('error[BAD_CONFIG] there is no room', flush=True)\nsys.exit(2)\n")
    with pytest.raises(ExceptionGroup) as caught:
        await up(governed(socket_dir, nodes=1), Stop())
    error = first_inferno_error(caught.value)
    assert error is not None
    assert (error.reason, "local-1: there is no room" in error.message) == ("BAD_CONFIG", True)
    assert not list((socket_dir / "d" / "nodes").glob("local-*"))


def test_numbers_of_nodes_that_contradict_each_other_are_refused(socket_dir: Path) -> None:
    with pytest.raises(InvalidInput, match="--max-nodes is 3, less than the 4"):
        decide(governed(socket_dir, nodes=4), {})
    with pytest.raises(InvalidInput, match="--max-nodes has no effect"):
        decide(_request(socket_dir, max_nodes=3), {})
    assert decide(_request(socket_dir, governator="advise"), {}).mode == "advise"
