"""A BERT encoder in numpy, as all-MiniLM-L6-v2 needs it: mean of the last layer over the words, of length one.

The parts follow Devlin et al., "BERT" (2018), in the order of the weights' names; what makes a sentence's vector of
them is what the model's card on Hugging Face says.
"""

import json
from pathlib import Path

import numpy as np

_HEADS = 12
_LAYERS = 6
_EPSILON = 1e-12


class Encoder:
    """The weights, and how they are used."""

    def __init__(self, weights: Path) -> None:
        self._weights = read(weights)

    def embed(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Vectors of length one, FP32[N, 384].

        Args:
            ids: Token numbers, INT[N, L], L at most 512.
            mask: 1 where there is a token and 0 where a text has ended, INT[N, L].
        """
        w = self._weights
        words = w["embeddings.word_embeddings.weight"][ids]
        places = w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm("embeddings.LayerNorm", words + places + w["embeddings.token_type_embeddings.weight"][0])
        unseen = np.where(mask[:, None, None, :] == 1, np.float32(0), np.float32(-1e9))
        for number in range(_LAYERS):
            layer = f"encoder.layer.{number}"
            attended = self._dense(
                f"{layer}.attention.output.dense", self._attend(f"{layer}.attention.self", x, unseen)
            )
            x = self._norm(f"{layer}.attention.output.LayerNorm", x + attended)
            inner = gelu(self._dense(f"{layer}.intermediate.dense", x))
            x = self._norm(f"{layer}.output.LayerNorm", x + self._dense(f"{layer}.output.dense", inner))
        seen = mask[:, :, None].astype(np.float32)
        mean = (x * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1e-9)
        return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + _EPSILON)
        return centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]

    def _attend(self, name: str, x: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        texts, length, width = x.shape
        query, key, value = (
            self._dense(f"{name}.{part}", x).reshape(texts, length, _HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // _HEADS)) + unseen
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = scores / scores.sum(axis=-1, keepdims=True)
        return (shares @ value).transpose(0, 2, 1, 3).reshape(texts, length, width)


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the share of a normal distribution below it, FP32.

    numpy has no error function; this one is off by 1.5e-7 at most (Abramowitz and Stegun, Handbook of Mathematical
    Functions, 7.1.26).
    """
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    terms = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    polynomial = np.zeros_like(t)
    for term in reversed(terms):
        polynomial = (polynomial + np.float32(term)) * t
    erf = np.sign(x) * (1 - polynomial * np.exp(-z * z))
    return x * (1 + erf) / 2


def read(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file: eight bytes with the length of a JSON header, the header, and the numbers."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    types = {"F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in about["data_offsets"])
            tensors[name] = np.frombuffer(content[begin:end], types[about["dtype"]]).reshape(about["shape"])
    return tensors
