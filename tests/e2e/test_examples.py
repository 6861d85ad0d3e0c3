"""The fetched examples, served as their users do: real weights, checked, through a whole cloud."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from benchmarks.cloud import cloud
from examples import serve

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get("INFERNO_TEST_EXAMPLES"),
        reason="it downloads 214 MB of weights and libraries: set INFERNO_TEST_EXAMPLES=1",
    ),
]


def _post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


async def test_a_prompt_is_answered_piece_by_piece(tmp_path: Path) -> None:
    repository = serve.fetched(serve.HERE / "text_generation", tmp_path / "kept")
    async with cloud(tmp_path / "data", nodes=1, model_repository=repository) as running:
        url = f"http://{running.endpoint}/v2/models/text_generation/generate_stream"
        async with aiohttp.ClientSession() as session:
            body = {"prompt": "What is the capital of France?", "max_tokens": 40}
            async with session.post(url, json=body) as answer:
                assert answer.status == 200
                pieces = [
                    (time.monotonic(), str(json.loads(line[5:])["text"]))
                    async for line in answer.content
                    if line.startswith(b"data:")
                ]
            async with session.post(url, json={"prompt": "word " * 3000}) as answer:
                assert "exceeds the available context size" in await answer.text()
    assert "".join(text for _, text in pieces) == "The capital of France is Paris."
    assert len(pieces) > 3
    assert pieces[-1][0] > pieces[0][0], "all pieces came together: it did not stream"


async def test_sentences_of_like_meaning_are_close(tmp_path: Path) -> None:
    repository = serve.fetched(serve.HERE / "embeddings", tmp_path / "kept")
    async with cloud(tmp_path / "data", nodes=1, model_repository=repository) as running:
        url = f"http://{running.endpoint}/v2/models/embeddings/infer"
        texts = ["This is an example sentence", "The cat sits outside", "A feline rests in the garden", "word " * 400]
        tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": texts}
        (output,) = _post(url, {"inputs": [tensor]})["outputs"]
    vectors = np.array(output["data"]).reshape(output["shape"])
    assert vectors.shape == (4, 384)
    # What the model's card prints for this sentence.
    assert vectors[0, :3] == pytest.approx([0.0676569, 0.0634959, 0.0487131], abs=1e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1] * 4, abs=1e-5)
    assert vectors[1] @ vectors[2] > vectors[0] @ vectors[1] + 0.2
