"""Which pictures are meant."""

from pathlib import Path, PurePath

import pytest

from cnnlab.errors import PictureError
from cnnlab.imaging.batch import find_sources
from cnnlab.imaging.parsing import parse_kernel


def test_what_systems_leave_in_a_folder_is_no_picture(own_world: Path) -> None:
    for name in ("x.png", "._x.png", ".hidden.jpg"):
        Path(name).touch()
    sources = find_sources(["."])
    assert (sources.paths, sources.skipped) == ((Path("x.png"),), ())
    Path("x.png").unlink()
    with pytest.raises(PictureError, match="holds no picture"):
        find_sources(["."])


def test_a_folder_of_many_outputs_is_not_compared_name_by_name(
    own_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(100):
        Path(f"{index}.png").touch()
        Path(f"{index}-blur.png").touch()
    comparisons, equal = 0, PurePath.__eq__

    def counted(path: PurePath, other: object) -> bool:
        nonlocal comparisons
        comparisons += 1
        return equal(path, other)

    monkeypatch.setattr(PurePath, "__eq__", counted)
    sources = find_sources(["."])
    monkeypatch.undo()
    assert (len(sources.paths), len(sources.skipped)) == (100, 100)
    assert comparisons < 1000  # a list of 100 searched for 200 names: 15,000


def test_outputs_of_a_kernel_with_a_name_of_its_own_are_no_pictures(own_world: Path) -> None:
    for name in ("a.png", "a-soft.png", "a-soft-2.png", "b-soft.png"):
        Path(name).touch()
    kernels = [parse_kernel("soft=gaussian")]
    assert find_sources(["."], kernels).paths == (Path("a.png"), Path("b-soft.png"))
    assert len(find_sources(["."]).paths) == 4
