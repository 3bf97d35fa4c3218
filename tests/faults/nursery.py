"""A process that has imported everything and is forked for each command: a hundred kills then take a minute.

Reads requests from stdin, one JSON document a line, and answers on stdout: {"start": {...}} with {"pid": N},
{"wait": N} with {"code": C}, negative for a signal. POSIX only.
"""

import json
import os
import signal
import sys


def main():
    import matplotlib.figure  # noqa: F401
    import torch
    import torch._dynamo  # what the first optimiser imports

    import cnnlab.cli.compare
    import cnnlab.cli.render.train
    import cnnlab.cli.train
    import cnnlab.data
    import cnnlab.report.figures
    import cnnlab.report.style
    import cnnlab.training.engines.torch
    import cnnlab.training.loop

    torch.set_num_threads(1)
    # Drawing would be nine tenths of such a short run; the files are written all the same.
    cnnlab.report.style.encoded = lambda figure, kind: kind.encode()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status, used = os.wait4(request["wait"], 0)
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "seconds": used.ru_utime + used.ru_stime,
                "kilobytes": used.ru_maxrss,
            }
        else:
            pid = os.fork()
            if pid == 0:
                child(**request["start"])
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def child(argv, folder, output, environment, operations):
    """Run a command in `folder`, stdout and stderr going to the file `output`; never returns."""
    code = 70
    try:
        os.chdir(folder)
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if operations is not None:
            from operations import Operations

            log = operations.pop("log", None)
            if log is not None:
                log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            Operations(f"{folder}/runs", log=log, **operations).install()
        from cnnlab.cli.main import main as cnnlab

        code = cnnlab(argv)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
