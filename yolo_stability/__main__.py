"""The entry point of `python -m yolo_stability`, the same as `yolo-stability`."""

import sys

from yolo_stability.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
