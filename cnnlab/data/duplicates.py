"""Pictures that stand in two parts: a net is then tested on what it has learnt by heart."""

import numpy as np

from cnnlab.data.dataset import Part
from cnnlab.errors import DataError
from cnnlab.text import counted


def _overlap(learnt: Part, held_out: Part, known: np.ndarray, asked: np.ndarray) -> list[tuple[int, int]]:
    """Indices of the pictures of `held_out` that stand in `learnt` too, pixel for pixel, each with that of one there.

    `known` and `asked` are the `hashes` of the two.
    """
    if learnt.images.shape[1:] != held_out.images.shape[1:]:
        return []
    # Hashes of 64 bits first; then the few whose hashes agree are compared byte for byte.
    candidates = np.flatnonzero(np.isin(asked, known))
    alike = np.flatnonzero(np.isin(known, asked[candidates])).tolist()
    places = {learnt.images[index].tobytes(): index for index in reversed(alike)}
    pairs = ((index, places.get(held_out.images[index].tobytes())) for index in candidates.tolist())
    return [(index, place) for index, place in pairs if place is not None]


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
            if found:
                described = _described(found, parts[first], parts[second], second)
                notices.append(f"copies in {first} and {second}: {described}")
    if notices and refuse:
        raise DataError(
            f"{where} holds the same pictures in two parts: " + "; ".join(notices),
            hint="A net would be tested on what it has learnt by heart. Remove one of each two, or accept them with "
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
        more = ", …" if len(torn) > 1 else ""
        example = f" ({' is '.join(names[index] for index in torn[0][:2])}{more})" if names is not None else ""
        notices.append(f"the same picture under two labels in train: {counted(len(torn), 'picture')}{example}")
    return notices


def _described(found: list[tuple[int, int]], learnt: Part, held_out: Part, name: str) -> str:
    """How many, which, and whether two labels contradict each other; `found` as by `_overlap`."""
    torn = sum(int(held_out.labels[index] != learnt.labels[place]) for index, place in found)
    labels = f", {torn:,} of them under another label" if torn else ""
    example = aside = ""
    if held_out.names is not None and learnt.names is not None:
        index, place = found[0]
        example = f" ({held_out.names[index]} is {learnt.names[place]}{', …' if len(found) > 1 else ''})"
        if held_out.names[index].startswith("train/"):
            aside = ", which was set aside from train"
    return f"{counted(len(found), 'picture')}, {len(found) / len(held_out):.1%} of {name}{aside}{labels}{example}"


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
