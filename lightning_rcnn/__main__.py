"""`python -m lightning_rcnn` is `lightning-rcnn`."""

import sys

from lightning_rcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
