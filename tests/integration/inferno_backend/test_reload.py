"""A loaded model is loaded anew while it serves, on a real Triton."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from tests.integration.inferno_backend.agent import agent, infer
from tests.integration.inferno_backend.mesh import Mesh, mesh
from tests.waiting import eventually

Repository = Callable[..., Path]
READY = node_pb2.MODEL_STATE_READY


class Traffic:
    """Who answered, in order; a call that fails fails the test."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.ended = False

    async def from_another(self, than: set[str]) -> None:
        """Wait until a process answers that is none of those."""
        await eventually(lambda: not than.issuperset(self.answers), 20, "another process answers")


@asynccontextmanager
async def traffic(address: str, callers: int = 3) -> AsyncIterator[Traffic]:
    made = Traffic()

    async def call() -> None:
        while not made.ended:
            made.answers.append(await infer(address, hold_ms=2))

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
        yield made
        made.ended = True


def reason(far: Mesh) -> tuple[int, str]:
    ((version,),) = (one.versions for one in far.registry.node.models)
    return version.state, version.reason


def counted(far: Mesh) -> tuple[int, bool]:
    (model,) = far.registry.node.models
    return model.loads, "worse than before" in model.load_failure


async def test_a_loaded_model_is_loaded_anew_without_a_failed_request_whether_its_files_changed_or_not_or_are_broken(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami")
    code = folder / "whoami" / "1" / "model.py"
    # Each process of the model answers with its own number.
    good = code.read_text().replace("os.getppid()", "os.getpid()")
    code.write_text(good)
    arguments = ("--model-repository", str(folder))
    generation = 0

    def load() -> None:
        nonlocal generation
        generation += 1
        one = registration.DesiredModel(model="whoami", loaded=True, generation=generation)
        far.registry.wanted.set(registration.RegisterResponse(desired_models=[one]))

    async with mesh() as far, agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        async with traffic(facts["grpc"]) as calls:
            for change in ("", "\n# changed", "", ""):
                await eventually(lambda: calls.answers, 10, "calls are answered")
                before = set(calls.answers)
                if change:
                    code.write_text(good + change)
                load()
                await eventually(lambda: counted(far) == (generation + 1, False), 20, "it is counted when it is done")
                await calls.from_another(before)
            code.write_text(f"raise RuntimeError('worse than before')\n{good}")
            before = set(calls.answers)
            load()
            await eventually(lambda: "worse than before" in reason(far)[1], 20, "the failure is told")
            assert reason(far)[0] == READY
            assert counted(far) == (generation + 1, True)
            assert "serves as it was loaded before" in reason(far)[1]
            answered = len(calls.answers)
            await eventually(lambda: len(calls.answers) > answered + 5, 10, "calls are answered")
            assert set(calls.answers) == before, "by the process of before"
            code.write_text(good)
            load()
            await eventually(lambda: reason(far) == (READY, ""), 20, "mended, nothing is said any more")
        revisions = [{v.state for m in one.models for v in m.versions} for _, _, one in far.registry.nodes]
        assert revisions == [{READY}] * len(revisions), "it was offered all the time"
