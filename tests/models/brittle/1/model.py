"""A model with faults: one request takes its whole server down, another one its own process."""

import os
import signal

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Echoes ``word``; the word DIE kills the model server, the word CRASH this process."""

    def execute(self, requests):
        """One answer for each request."""
        answers = []
        for request in requests:
            word = pb_utils.get_input_tensor_by_name(request, "word").as_numpy()
            if word[0] == b"DIE":
                os.kill(os.getppid(), signal.SIGKILL)
            if word[0] == b"CRASH":
                os.kill(os.getpid(), signal.SIGSEGV)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("word", word)]))
        return answers
