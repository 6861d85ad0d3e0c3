"""A model with a fault: one request takes its whole server down."""

import os
import signal

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Echoes ``word``; the word DIE kills the model server."""

    def execute(self, requests):
        """One answer for each request."""
        answers = []
        for request in requests:
            word = pb_utils.get_input_tensor_by_name(request, "word").as_numpy()
            if word[0] == b"DIE":
                os.kill(os.getppid(), signal.SIGKILL)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("word", word)]))
        return answers
