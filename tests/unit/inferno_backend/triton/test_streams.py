"""What a model's process writes of its streams, the agent reads."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from inferno_backend.triton import stream_gauge, streams

KEY = ("m", "1")


class Sender:
    """Triton's, as far as it is used: what has been sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[object, int]] = []

    def send(self, response: object = None, flags: int = 0) -> None:
        if response == "refused":
            raise RuntimeError("already closed")
        self.sent.append((response, flags))


def a_backend() -> SimpleNamespace:
    """A backend's module as the stub gives it: each one with classes of its own."""

    class InferenceResponseSender(Sender):
        pass

    class InferenceRequest:
        def __init__(self) -> None:
            self._sender = InferenceResponseSender()

        def get_response_sender(self) -> InferenceResponseSender:
            return self._sender

    return SimpleNamespace(InferenceRequest=InferenceRequest, InferenceResponseSender=InferenceResponseSender)


def read(page: Path) -> streams.Streams:
    return streams.streams_of(memoryview(page.read_bytes()).cast("Q"))


@pytest.fixture
def prefix() -> object:
    """Of shared memory that is this test's own."""
    made = f"inferno-test-{os.getpid()}-{id(object())}-"
    yield made
    for file in Path("/dev/shm").glob(f"{made}*"):
        file.unlink()


def test_a_stream_is_seen_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    page, one, two = stream_gauge.Page(str(tmp_path / "page"), *KEY), Sender(), Sender()
    assert read(tmp_path / "page") == streams.Streams()
    page.begin(one)
    page.begin(one)
    (waiting,) = read(tmp_path / "page").open
    assert waiting.began > 0
    assert waiting.last is None
    page.begin(two)
    for _ in range(3):
        page.sent(one, 1, final=False)
    seen = read(tmp_path / "page")
    assert (seen.running, seen.responses, seen.finished, seen.pauses) == (2, 3, 0, 1)
    assert seen.moved_at == seen.open[0].last
    assert 0 < seen.gap < seen.first_wait + 10
    page.sent(one, 0, final=True)
    page.sent(two, 1, final=True)
    seen = read(tmp_path / "page")
    assert (seen.running, seen.responses, seen.finished) == (0, 4, 2)
    page.sent(one, 0, final=False)
    assert read(tmp_path / "page").moved_at > seen.moved_at, "a word of one that is not known is progress as well"


def test_a_sender_that_is_dropped_without_a_last_word_runs_no_longer(tmp_path: Path) -> None:
    page, sender = stream_gauge.Page(str(tmp_path / "page"), *KEY), Sender()
    page.begin(sender)
    del sender
    gc.collect()
    assert read(tmp_path / "page") == streams.Streams()


def test_more_streams_than_there_are_slots_are_counted(tmp_path: Path) -> None:
    page = stream_gauge.Page(str(tmp_path / "page"), *KEY)
    senders = [Sender() for _ in range(stream_gauge.SLOTS + 2)]
    for each in senders:
        page.begin(each)
    seen = read(tmp_path / "page")
    assert (len(seen.open), seen.crowd, seen.running) == (stream_gauge.SLOTS, 2, stream_gauge.SLOTS + 2)
    for each in reversed(senders):
        page.sent(each, 1, final=True)
    assert read(tmp_path / "page").running == 0


def test_a_backend_is_followed_and_goes_on_as_it_was(
    prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = a_backend()
    monkeypatch.setenv(stream_gauge.VARIABLE, streams.pages_prefix(prefix))
    monkeypatch.setattr(stream_gauge, "_command_line", lambda: ["stub", "/repository/m/1/model.py", "region"])
    stream_gauge.install(backend)
    assert streams.read(prefix) == {}, "a model that streams nothing has no page"
    sender = backend.InferenceRequest().get_response_sender()
    assert streams.read(prefix)[KEY][0].running == 1
    sender.send("one")
    sender.send(response="two", flags=0)
    with pytest.raises(RuntimeError, match="already closed"):
        sender.send("refused")
    sender.send(flags=1)
    assert sender.sent == [("one", 0), ("two", 0), (None, 1)]
    (seen,) = streams.read(prefix)[KEY]
    assert (seen.running, seen.responses, seen.finished) == (0, 2, 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("command_line", "place"), [(["stub"], "/dev/shm/"), (["stub", "r/m/1/model.py"], "/none/")])
def test_streams_that_cannot_be_followed_are_told_once_and_the_model_serves(
    command_line: list[str], place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = a_backend()
    monkeypatch.setenv(stream_gauge.VARIABLE, place)
    monkeypatch.setattr(stream_gauge, "_command_line", lambda: command_line)
    stream_gauge.install(backend)
    for _ in range(2):
        sender = backend.InferenceRequest().get_response_sender()
        sender.send("one", 1)
        assert sender.sent == [("one", 1)]
    assert capsys.readouterr().err.count("The streams of this model cannot be followed") == 1


def test_a_backend_that_nobody_asks_of_or_that_looks_different_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = a_backend()
    plain = backend.InferenceResponseSender.send
    monkeypatch.delenv(stream_gauge.VARIABLE, raising=False)
    stream_gauge.install(backend)
    assert backend.InferenceResponseSender.send is plain
    monkeypatch.setenv(stream_gauge.VARIABLE, "/dev/shm/x")
    other = SimpleNamespace(InferenceResponseSender=backend.InferenceResponseSender)
    stream_gauge.install(other)
    assert other.InferenceResponseSender.send is plain


def test_the_pages_of_ended_processes_are_removed_and_unfinished_ones_left(prefix: str) -> None:
    ended, running = Path(streams.pages_prefix(prefix) + "999999999"), Path(streams.pages_prefix(prefix) + "1")
    stream_gauge.Page(str(ended), *KEY)
    for content in (b"", b"short", bytes(stream_gauge.CELLS * 8)):
        running.write_bytes(content)
        assert streams.read(prefix) == {}
        assert not ended.exists()
        assert running.exists()
    assert streams.read("") == {}


def test_a_stub_knows_its_own_command_line() -> None:
    assert stream_gauge._command_line()[0].rpartition("/")[2].startswith(Path(sys.executable).name[:6])  # noqa: SLF001
