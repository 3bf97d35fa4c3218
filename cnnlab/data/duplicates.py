"""Pictures that stand in two parts: a net is then tested on what it has learnt by heart."""

import numpy as np

from cnnlab.data.dataset import Part
from cnnlab.errors import DataError
from cnnlab.text import counted


def overlap(learnt: Part, held_out: Part) -> np.ndarray:
    """Indices (M,) of the pictures of `held_out` that stand in `learnt` too, pixel for pixel."""
    if learnt.images.shape[1:] != held_out.images.shape[1:]:
        return np.empty(0, np.int64)
    # Hashes of 64 bits first; then the few whose hashes agree are compared byte for byte.
    known = _hashes(learnt.images)
    candidates = np.flatnonzero(np.isin(_hashes(held_out.images), known))
    if not len(candidates):
        return candidates
    wanted = _hashes(held_out.images[candidates])
    bytes_learnt = {learnt.images[index].tobytes() for index in np.flatnonzero(np.isin(known, wanted))}
    return np.array([index for index in candidates if held_out.images[index].tobytes() in bytes_learnt], np.int64)


def check_overlaps(where: str, parts: dict[str, Part], *, refuse: bool) -> list[str]:
    """Notices on pictures that stand in two parts.

    Raises:
        DataError: there are some, and `refuse`.
    """
    notices = []
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        if first in parts and second in parts:
            found = overlap(parts[first], parts[second])
            if len(found):
                notices.append(f"copies in {first} and {second}: {_described(found, second, parts[second])}")
    if notices and refuse:
        raise DataError(
            f"{where} holds the same pictures in two parts: " + "; ".join(notices),
            hint="A net would be tested on what it has learnt by heart. Remove them from one part, or accept them with "
            "--allow-duplicates",
        )
    if "val" not in parts and (twice := copies(parts["train"])):
        notices.append(
            f"copies within train: {counted(twice, 'picture')}; a validation part split off may hold some of them"
        )
    return notices


def _described(found: np.ndarray, name: str, part: Part) -> str:
    example = f" ({part.names[found[0]]} …)" if part.names is not None else ""
    return f"{counted(len(found), 'picture')}, {len(found) / len(part):.1%} of {name}{example}"


def copies(part: Part) -> int:
    """How many pictures of a part are copies of an earlier one in it, pixel for pixel."""
    hashes = _hashes(part.images)
    names, counts = np.unique(hashes, return_counts=True)
    suspects = np.flatnonzero(np.isin(hashes, names[counts > 1]))
    return len(suspects) - len({part.images[index].tobytes() for index in suspects})


def _hashes(images: np.ndarray) -> np.ndarray:
    """One 64-bit hash a picture (N,) int64."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.fromiter((hash(row.tobytes()) for row in rows), np.int64, len(rows))
