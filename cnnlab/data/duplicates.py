"""Pictures that stand in two parts: a net is then tested on what it has learnt by heart."""

import numpy as np

from cnnlab.data.dataset import Part
from cnnlab.errors import DataError
from cnnlab.text import counted


def _overlap(learnt: Part, held_out: Part, known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Indices (M,) of the pictures of `held_out` that stand in `learnt` too, pixel for pixel.

    `known` and `asked` are the `hashes` of the two.
    """
    if learnt.images.shape[1:] != held_out.images.shape[1:]:
        return np.empty(0, np.int64)
    # Hashes of 64 bits first; then the few whose hashes agree are compared byte for byte.
    candidates = np.flatnonzero(np.isin(asked, known))
    bytes_learnt = {learnt.images[index].tobytes() for index in np.flatnonzero(np.isin(known, asked[candidates]))}
    return np.array([index for index in candidates if held_out.images[index].tobytes() in bytes_learnt], np.int64)


def check_overlaps(where: str, parts: dict[str, Part], *, refuse: bool) -> list[str]:
    """Notices on pictures that stand in two parts, twice in the training part, or under two labels there.

    Raises:
        DataError: there are some in two parts, and `refuse`.
    """
    hashed = {name: hashes(part.images) for name, part in parts.items()}
    notices = []
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        if first in parts and second in parts:
            found = _overlap(parts[first], parts[second], hashed[first], hashed[second])
            if len(found):
                notices.append(f"copies in {first} and {second}: {_described(found, second, parts[second])}")
    if notices and refuse:
        raise DataError(
            f"{where} holds the same pictures in two parts: " + "; ".join(notices),
            hint="A net would be tested on what it has learnt by heart. Remove them from one part, or accept them with "
            "--allow-duplicates",
        )
    groups = _copies(parts["train"], hashed["train"])
    if "val" not in parts and groups:
        twice = sum(len(group) - 1 for group in groups)
        notices.append(
            f"copies within train: {counted(twice, 'picture')}; a validation part split off may hold some of them"
        )
    torn = [group for group in groups if len(set(parts["train"].labels[group].tolist())) > 1]
    if torn:
        names = parts["train"].names
        example = f" ({', '.join(names[index] for index in torn[0][:2])} …)" if names is not None else ""
        notices.append(f"the same picture under two labels in train: {counted(len(torn), 'picture')}{example}")
    return notices


def _described(found: np.ndarray, name: str, part: Part) -> str:
    example = f" ({part.names[found[0]]} …)" if part.names is not None else ""
    return f"{counted(len(found), 'picture')}, {len(found) / len(part):.1%} of {name}{example}"


def _copies(part: Part, hashed: np.ndarray) -> list[np.ndarray]:
    """Groups of indices of pictures of a part that are equal, pixel for pixel."""
    order = np.argsort(hashed, kind="stable")
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(hashed[order])) + 1, [len(order)]])
    groups = []
    for run in np.flatnonzero(np.diff(bounds) > 1).tolist():
        equal: dict[bytes, list[int]] = {}
        for index in order[bounds[run] : bounds[run + 1]].tolist():
            equal.setdefault(part.images[index].tobytes(), []).append(index)
        groups += [np.array(group) for group in equal.values() if len(group) > 1]
    return groups


def hashes(images: np.ndarray) -> np.ndarray:
    """One 64-bit hash a picture (N,) int64."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.fromiter((hash(row.tobytes()) for row in rows), np.int64, len(rows))
