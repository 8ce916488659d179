"""Objects in image files, found by the server of `serve.py`: python examples/serve_client.py http://HOST:PORT IMAGE...

It needs Python alone, and sends all images at once, so that the server can put them into batches.
"""

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def find_objects(address: str, image: str) -> list[dict]:
    """Send an image file; return a list of `class`, `score` and `box` (x1, y1, x2, y2 in pixels of the image)."""
    try:
        content = json.dumps({"image": base64.b64encode(Path(image).read_bytes()).decode()}).encode()
        request = Request(f"{address}/predict", content, {"Content-Type": "application/json"})
        with urlopen(request) as response:
            return json.load(response)["objects"]
    except HTTPError as error:
        sys.exit(f"{image}: {error.read().decode()}")
    except OSError as error:
        sys.exit(f"{image}: {error}")


def main(address: str, *images: str) -> None:
    """Print what is found in each image."""
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda image: find_objects(address, image), images)
        for image, objects in zip(images, answers, strict=True):
            print(image)
            for found in objects:
                corners = ", ".join(f"{value:.0f}" for value in found["box"])
                print(f"  {found['class']} {found['score']:.2f} at {corners}")


if __name__ == "__main__":
    main(*sys.argv[1:])
