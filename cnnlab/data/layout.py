"""The layout `train/CLASS/*`, `val/CLASS/*`, `test/CLASS/*`: which file is a picture of which class."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from cnnlab.errors import DataError
from cnnlab.imaging.pictures import SUFFIXES
from cnnlab.text import counted, printable

PARTS = ("train", "val", "test")
EXPECTED = (
    "Expected train/CLASS/pictures, and val/CLASS/pictures and test/CLASS/pictures where there are any, "
    "with one folder a class and two classes or more"
)
_SHOWN = 5


@dataclass
class Layout:
    """What a folder or an archive holds, as far as names tell.

    `classes[part][class]` counts pictures; the lists hold names relative to the top.
    """

    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    other_folders: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)

    def add_folder(self, steps: list[str]) -> None:
        """Note a folder (its path as steps from the top), so that empty classes are seen."""
        if steps[0] not in PARTS:
            self.other_folders.add(steps[0])
        elif len(steps) == 1:
            self.classes.setdefault(steps[0], {})
        else:
            self.classes.setdefault(steps[0], {}).setdefault(class_name(steps[1]), 0)

    def add_file(self, steps: list[str]) -> bool:
        """Note a file (as steps from the top); False where its place or name makes it no picture of a class."""
        name = "/".join(steps)
        if steps[0] not in PARTS:
            if len(steps) > 1:
                self.other_folders.add(steps[0])
            return False
        if len(steps) < 3 or not _is_picture(steps[-1]):
            self.left_out.append(name)
            return False
        of_part = self.classes.setdefault(steps[0], {})
        of_part[class_name(steps[1])] = of_part.get(class_name(steps[1]), 0) + 1
        return True

    def notices(self) -> list[str]:
        """What was left out, as sentences."""
        found = []
        if self.other_folders:
            found.append(f"not used, since parts are named train, val and test: {_listed(self.other_folders)}")
        if self.left_out:
            found.append(
                f"ignored (not pictures in a class folder): {counted(len(self.left_out), 'file')} "
                f"({_listed(self.left_out)})"
            )
        if self.links:
            found.append(
                "not followed, since leading to a folder, out of the data or nowhere: "
                f"{counted(len(self.links), 'symbolic link')} ({_listed(self.links)})"
            )
        return found

    def check(self, where: str) -> None:
        """Refuse what cannot be trained on, telling what else was found.

        Raises:
            DataError: nothing at all, or as `check_classes`.
        """
        if not (self.classes or self.other_folders or self.links):
            raise DataError(f"{where} holds no class folders", hint=EXPECTED)
        try:
            check_classes(where, self.classes)
        except DataError as error:
            raise DataError("\n".join([error.message, *self.notices()]), hint=error.hint) from None


@lru_cache(maxsize=4096)
def class_name(folder: str) -> str:
    """A class's name: its folder's, composed (NFC, as macOS does not write it) and fit to be shown."""
    return printable(unicodedata.normalize("NFC", folder))


def check_classes(where: str, classes: dict[str, dict[str, int]]) -> tuple[str, ...]:
    """The classes, sorted, of pictures counted by part and class.

    Raises:
        DataError: no train part, fewer than two classes, a class without pictures, parts whose classes differ.
    """
    if not classes.get("train"):
        found = ", ".join(sorted(classes)) or "none of train, val and test"
        inside = "no class folder in train" if "train" in classes else f"no train folder (found: {found})"
        raise DataError(f"{where} holds no pictures to train on: {inside}", hint=EXPECTED)
    names = sorted(classes["train"])
    if len(names) == 1:
        raise DataError(f"{where} holds one class ({names[0]}): expected at least two", hint=EXPECTED)
    faults = [fault for part in PARTS if part in classes for fault in _class_faults(names, part, classes[part])]
    if faults:
        raise DataError(
            f"{where}: " + ("" if len(faults) == 1 else "\n  ") + "\n  ".join(faults),
            hint="Give every class a folder with pictures in each part, named alike, or remove it from all ("
            + ", ".join(sorted(set(SUFFIXES)))
            + " are read)",
        )
    return tuple(names)


def _class_faults(names: list[str], part: str, counts: dict[str, int]) -> list[str]:
    """What is wrong with one part's classes, given those of train."""
    faults = []
    if set(names) != set(counts):
        sides = {"train": set(names) - set(counts), part: set(counts) - set(names)}
        only = "; ".join(f"{_listed(found, 10)} (only in {side})" for side, found in sides.items() if found)
        faults.append(f"the classes of train and {part} differ: {only}")
    empty = [name for name in names if counts.get(name) == 0]
    if empty:
        faults.append(f"no pictures in {len(empty)} of the {len(counts)} class folders of {part}: {_listed(empty)}")
    return faults


def place(name: str) -> tuple[str, str]:
    """(part, class) of a picture's relative name."""
    part, folder, _ = name.split("/", 2)
    return part, class_name(folder)


def single_pictures(train: Counter[str]) -> list[str]:
    """A notice for classes with one training picture."""
    single = sorted(name for name, count in train.items() if count == 1)
    if not single:
        return []
    return [
        f"one training picture only, none for validation: {counted(len(single), 'class', 'classes')} "
        f"({_listed(single)})"
    ]


def _is_picture(name: str) -> bool:
    _, dot, ending = name.rpartition(".")
    return dot + ending.lower() in SUFFIXES


def _listed(names: Iterable[str], shown: int = _SHOWN) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return ", ".join(printable(name) for name in ordered[:shown]) + rest
