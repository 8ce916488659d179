"""A server that finds objects in images, by LitServe: python examples/serve.py FILE.onnx [PORT].

It needs litserve, onnxruntime, numpy and Pillow: the extras `serve` and `export`. `serve_client.py` calls it. A request
is JSON with an image file in base64; requests that come within 10 ms of each other share passes of the network.
"""

import base64
import io
import os
import signal
import sys

import litserve
import numpy as np
from fastapi.responses import JSONResponse
from onnx_inference import open_file, open_image, pad, resize


class Detection(litserve.LitAPI):
    """The file as an API of LitServe."""

    def __init__(self, file: str) -> None:
        super().__init__(max_batch_size=8, batch_timeout=0.01)
        self.file = file

    def setup(self, device: str) -> None:
        """Open the file, in each worker."""
        self.session, self.about = open_file(self.file)
        self.outputs = [output.name for output in self.session.get_outputs()]

    def decode_request(self, request: dict) -> dict[str, np.ndarray] | str:
        """Turn a request into inputs of the graph, for one image; or return what is wrong with it.

        An exception would fail the requests of others in the same batch, too.
        """
        try:
            image = open_image(io.BytesIO(base64.b64decode(request["image"])))
        except Exception as error:  # Pillow raises anything on damaged files
            return f"the request has to be JSON with an image file in base64: {error}"
        resized = resize(image, self.about["resize"])
        return {
            "images": pad(resized, self.about["images"]["size_divisor"]),
            "image_sizes": np.array([resized.shape[:2]]),
            "original_sizes": np.array([image.size[::-1]]),
        }

    def batch(self, inputs: list) -> list:
        """Keep the requests apart: `predict` puts those of one size together."""
        return inputs

    def unbatch(self, output: list) -> list:
        """Return the answers, which are apart already."""
        return output

    def predict(self, x: list) -> list:
        """Run the graph once for each size, so that an answer does not depend on the images of others."""
        answers = list(x)  # what is wrong with a request stays its answer
        shapes = [None if isinstance(inputs, str) else inputs["images"].shape for inputs in x]
        for shape in set(shapes) - {None}:
            members = [number for number, other in enumerate(shapes) if other == shape]
            stacked = {name: np.concatenate([x[number][name] for number in members]) for name in x[members[0]]}
            found = dict(zip(self.outputs, self.session.run(self.outputs, stacked), strict=True))
            for slot, number in enumerate(members):
                answers[number] = {name: values[slot] for name, values in found.items()}
        return answers

    def encode_response(self, output: dict[str, np.ndarray] | str) -> JSONResponse:
        """Turn the detections of one image into an answer; masks are left out."""
        if isinstance(output, str):
            return JSONResponse({"detail": output}, 422)
        kept = [output[name][: output["count"]].tolist() for name in ("labels", "scores", "boxes")]
        names = self.about["class_names"]
        objects = [
            {"class": names[label - 1], "score": score, "box": box} for label, score, box in zip(*kept, strict=True)
        ]
        return JSONResponse({"objects": objects})


def end_by_sigterm() -> None:
    """Let a kill end the processes of the server, too, as Ctrl-C does; they would stay, and keep the port."""
    main = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        if os.getpid() == main:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


if __name__ == "__main__":
    open_file(sys.argv[1])  # what is wrong with it is said here, not by each worker
    server = litserve.LitServer(Detection(sys.argv[1]), accelerator="cpu")
    end_by_sigterm()
    server.run(host="127.0.0.1", port=int(sys.argv[2]) if len(sys.argv) > 2 else 8000, generate_client_file=False)
