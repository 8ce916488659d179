"""Entry point of `python -m lightning_rcnn`, the same as `lightning-rcnn`."""

import sys

from lightning_rcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
