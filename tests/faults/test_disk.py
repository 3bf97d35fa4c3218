"""A full or failing disk: exit 4, no checkpoint lost, nothing half-written left behind."""

import errno
import shutil
from pathlib import Path

import pytest


@pytest.mark.faults
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_each_failing_operation_ends_with_4_and_loses_nothing(nursery, small, undisturbed, essence, share, error):
    Path("listed").mkdir()
    log = Path("listed/operations.log").resolve()
    assert nursery.run(*small, folder="listed", operations={"log": str(log)}) == 0
    operations = log.read_text().splitlines()
    failing = [
        n for n, text in enumerate(operations, 1) if text.split()[0] in ("open", "write", "fsync", "replace", "rename")
    ]
    assert len(failing) > 100
    step = round(1 / share)
    for number in failing[step // 2 :: step]:
        folder = Path(f"{error}-{number}")
        folder.mkdir()
        what = f"{errno.errorcode[error]} at operation {number}, {operations[number - 1]}"
        ended = nursery.run(*small, folder=folder, operations={"number": number, "how": error})
        said = (folder / "output.txt").read_text()
        assert ended == 4, f"{what}: {said}"
        assert "cannot write" in said, what
        assert "Traceback" not in said, what
        assert not list(folder.rglob("*.tmp")), what
        _whole_up_to(folder / "runs/x/checkpoints", operations[:number], what)
        assert nursery.go_on(folder) == 0, what + "\n" + (folder / "output.txt").read_text()
        assert essence(folder / "runs/x") == undisturbed, what
        shutil.rmtree(folder)


def _whole_up_to(checkpoints, performed, what):
    """The newest checkpoint is that of the last save whose manifest got its name, and it is whole."""
    from cnnlab.training.checkpoint import load_newest

    saved = sum(text == "replace .last.json" for text in map(_without_process, performed[:-1]))
    if saved:
        found, _ = load_newest(checkpoints, 10)
        assert found.meta["epoch"] >= saved, what


def _without_process(operation):
    """`replace .last.json.1234.tmp` to `replace .last.json`."""
    name, file = operation.split()
    return f"{name} {file.removesuffix('.tmp').rpartition('.')[0]}"
