"""Which models a GPU that can do no work takes along."""

from __future__ import annotations

import pytest

from inferno_backend.hardware.placement import numbered, taken_out
from inferno_backend.node import Gpu, MigInstance, Model, ModelState, ModelVersion, Placement

A, B = "GPU-aa1", "GPU-ab2"
GPUS = (Gpu(A, "A10G", 1), Gpu(B, "T4", 1, mig_instances=(MigInstance("MIG-7"),)))


def model(name: str, *gpus: int, any_gpu: bool = False, steps: tuple[str, ...] = (), ready: bool = True) -> Model:
    state = ModelState.READY if ready else ModelState.UNAVAILABLE
    return Model(name, (ModelVersion("1", state),), placement=Placement(gpus, any_gpu, steps))


FIRST, SECOND, BOTH = model("first", 0), model("second", 1), model("both", 0, 1)
MORE = " 1 more of its GPUs can do no work."
OWN, CPU = model("own", any_gpu=True), model("cpu")


@pytest.mark.parametrize(
    ("models", "faulty", "node", "out"),
    [
        ((FIRST, SECOND, BOTH, OWN, CPU), {}, "", {}),
        ((FIRST, SECOND, BOTH, OWN, CPU), {A: "a"}, "", {"first": "a"}),
        ((FIRST, CPU), {A: "a"}, "", {"first": "a"}),
        # No model is left that can serve.
        ((FIRST, model("other", 1, ready=False)), {A: "a"}, "a", {"first": "a"}),
        # No GPU is left.
        (
            (FIRST, BOTH, OWN, CPU),
            {A: "a", B: "b"},
            "a 1 more of its GPUs can do no work.",
            {"first": "a", "both": "a", "own": "a"},
        ),
        # Nothing here needs one.
        ((CPU,), {A: "a", B: "b"}, "", {}),
        # Triton does not see it.
        ((FIRST, SECOND), {"GPU-other": "x"}, "", {}),
        # Triton counts a GPU that the agent does not know.
        ((model("beyond", 7), CPU), {A: "a"}, "", {}),
    ],
)
def test_a_gpu_takes_along_what_runs_on_it_alone(
    models: tuple[Model, ...], faulty: dict[str, str], node: str, out: dict[str, str]
) -> None:
    assert taken_out(models, (A, B), faulty) == (node, out)


def test_an_ensemble_is_out_with_its_steps() -> None:
    inner, outer = model("inner", steps=("cpu", "first")), model("outer", steps=("inner",))
    node, out = taken_out((outer, inner, FIRST, CPU, model("whole", steps=("cpu",))), (A, B), {A: "a"})
    assert node == ""
    assert out == {
        "first": "a",
        "inner": "Its step 'first' is out. a",
        "outer": "Its step 'inner' is out. Its step 'first' is out. a",
    }


@pytest.mark.parametrize(
    ("visible", "order"),
    [
        (None, (A, B)),
        ("1,0", (B, A)),
        ("1", (B,)),
        ("GPU-ab", (B,)),
        ("MIG-7", (B,)),
        ("0,5,1", (A,)),
        ("GPU-a", ()),
        ("-1", ()),
        ("", ()),
    ],
)
def test_gpus_are_numbered_as_cuda_numbers_them(visible: str | None, order: tuple[str, ...]) -> None:
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert numbered(GPUS, env) == order
