"""`python -m cnnlab`: the same program as the `cnnlab` script."""

import sys

from cnnlab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
