"""`python -m cnnlab`: the same program as the `cnnlab` script."""

from cnnlab.cli.main import run

if __name__ == "__main__":
    run()
