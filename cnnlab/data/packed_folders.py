"""An archive whose contents are a folder of pictures: decoded as it is read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cnnlab.data.archives import members
from cnnlab.data.dataset import OnProgress
from cnnlab.data.decoding import Assembled, Named, assemble, decode
from cnnlab.data.layout import PARTS, Layout
from cnnlab.imaging.pictures import is_clutter
from cnnlab.text import printable


def read_packed_folder(file: Path, image_size: int | None, skip_bad: bool, on_progress: OnProgress) -> Assembled:
    """The pictures of an archive of train/CLASS/*, with or without one folder around all of it.

    Raises:
        DataError: as `members`, `Layout.check` and `assemble`.
        MachineError: the file cannot be read.
    """
    layout = Layout()
    pictures = list(decode(_pictures(file, layout), None, image_size, on_progress))
    layout.check(printable(file))
    found = assemble(printable(file), pictures, image_size, skip_bad)
    return replace(found, notices=layout.notices() + found.notices)


def _pictures(file: Path, layout: Layout) -> Iterator[Named]:
    around: str | None = None
    # What macOS packs before the outer folder itself, `._NAME`, is not to hide that folder.
    plain = (member for member in members(file) if not any(is_clutter(step) for step in member[0]))
    for steps, data in plain:
        if data is not None and len(steps) == 1:
            continue  # a file beside the folders, such as a README
        if around is None:
            around = "" if steps[0] in PARTS else steps[0]
        if steps[0] == around:
            steps = steps[1:]
        elif around:
            layout.add_folder([around])  # it is not around all
        if not steps:
            continue
        if data is None:
            layout.add_folder(steps)
        elif layout.add_file(steps):
            yield "/".join(steps), data
