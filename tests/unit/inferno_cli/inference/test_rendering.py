from __future__ import annotations

import numpy as np

from inferno_cli.inference import rendering
from inferno_cli.inference.call import Answer
from inferno_cli.inference.tensors import Array, Tensor
from inferno_cli.output import table


def _answer(**outputs: Array) -> Answer:
    kinds = {"O": "BYTES", "f": "FP64", "i": "INT64"}
    return Answer("m", "1", tuple(Tensor(name, kinds[a.dtype.kind], a) for name, a in outputs.items()))


def _table(answer: Answer, items: list[str], *, batches: bool) -> list[str]:
    rows = rendering.rows(answer, items, batches=batches)
    return table(rendering.columns(answer, rows, items), rows).splitlines()


def test_a_batch_is_a_row_for_each_file() -> None:
    answer = _answer(label=np.array([[b"markdown"], [b"python"]], object), score=np.array([[0.998], [0.5]]))
    assert _table(answer, ["README.md", "x.py"], batches=True) == [
        "INPUT      LABEL     SCORE",
        "README.md  markdown  0.998",
        "x.py       python    0.5",
    ]


def test_a_batch_without_names_is_numbered() -> None:
    assert _table(_answer(y=np.array([[1], [2]])), [], batches=True) == ["ITEM  Y", "0     1", "1     2"]


def test_a_model_without_batches_is_one_row() -> None:
    answer = _answer(vector=np.arange(3.0), name=np.array([b"a", b"b"], object))
    assert _table(answer, [], batches=False) == ["VECTOR     NAME", '[0, 1, 2]  ["a", "b"]']


def test_files_packed_into_the_first_dimension_are_rows() -> None:
    assert _table(_answer(y=np.array([7, 8])), ["a", "b"], batches=False) == ["INPUT  Y", "a      7", "b      8"]


def test_long_vectors_are_cut_and_counted() -> None:
    (row,) = rendering.rows(_answer(y=np.arange(100)), [], batches=False)
    assert row["y"] == "[0, 1, 2, 3, 4, 5, 6, 7 ... 100 values]"


def test_outputs_of_different_length_are_one_row() -> None:
    assert len(rendering.rows(_answer(a=np.arange(2), b=np.arange(3)), ["f"], batches=False)) == 1


def test_an_answer_of_a_stream_is_one_line() -> None:
    assert rendering.line(_answer(token=np.array([b"Hello"], object))) == "Hello"
    assert rendering.line(_answer(index=np.array([3]), token=np.array([b"a b"], object))) == "index 3  token a b"


def test_an_output_without_dimensions_is_a_value() -> None:
    assert rendering.rows(_answer(y=np.array(5)), [], batches=False) == [{"item": "", "y": "5"}]


def test_json_is_the_protocols_form_with_nested_data() -> None:
    document = rendering.document(_answer(y=np.array([[1.5, 2.0]])), ["f"])
    assert document == {
        "model_name": "m",
        "model_version": "1",
        "items": ["f"],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [1, 2], "data": [[1.5, 2.0]]}],
    }
    assert "items" not in rendering.document(_answer(y=np.array([1])), [])
