"""A text in, its vector out: all-MiniLM-L6-v2. Run by Triton's Python backend."""

import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

# The model was trained on no longer texts; what follows is left out, as its card says.
_MOST_TOKENS = 256


class TritonPythonModel:
    """Triton's interface to a model."""

    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        sys.path[:0] = [str(folder), str(folder / "packages")]
        import bert
        from tokenizers import Tokenizer

        self._encoder = bert.Encoder(folder / "weights.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._tokenizer.enable_padding()

    def execute(self, requests):
        """All texts of all requests are computed together."""
        texts = [pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel() for request in requests]
        encoded = self._tokenizer.encode_batch([text.decode() for each in texts for text in each])
        ids = np.array([each.ids for each in encoded])
        mask = np.array([each.attention_mask for each in encoded])
        vectors = self._encoder.embed(ids, mask).astype(np.float32)
        ends = np.cumsum([len(each) for each in texts])
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("embedding", part)]) for part in np.split(vectors, ends[:-1])
        ]
