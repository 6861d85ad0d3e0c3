"""The file-type model: bytes in, what kind of file they are out. Run by Triton's Python backend."""

import magika
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class _OneThread(magika.Magika):
    """Magika computes with every core; an instance here takes one, so that instances do not fight for them."""

    def _init_onnx_session(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        onnxruntime.disable_telemetry_events()
        return onnxruntime.InferenceSession(self._model_path, options, providers=["CPUExecutionProvider"])


class TritonPythonModel:
    """Triton's interface to a model."""

    def initialize(self, args):
        self._magika = _OneThread()

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        content = pb_utils.get_input_tensor_by_name(request, "content").as_numpy()
        found = [self._magika.identify_bytes(bytes(one)) for one in content.ravel()]
        texts = {
            "label": [str(one.output.label) for one in found],
            "description": [one.output.description for one in found],
            "mime_type": [one.output.mime_type for one in found],
        }
        tensors = [
            pb_utils.Tensor(name, np.array([text.encode() for text in column], dtype=object).reshape(content.shape))
            for name, column in texts.items()
        ]
        scores = np.array([one.score for one in found], dtype=np.float32).reshape(content.shape)
        return pb_utils.InferenceResponse([*tensors, pb_utils.Tensor("score", scores)])
