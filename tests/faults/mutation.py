"""Mutations of bytes, text and JSON, each drawn from a generator of chance."""

import random
from collections.abc import Sequence
from typing import Any

NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64)


def mutate_bytes(data: bytes, rng: random.Random, most: int = 6) -> bytes:
    """One to `most` of: flipped bits, other bytes, blocks cut, doubled, moved or added, numbers of one to eight bytes,
    the end cut off."""
    out = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not out:
            return rng.randbytes(rng.randint(0, 40))
        # Headers lie in front: half of the mutations meet the first hundred bytes.
        at = rng.randrange(min(len(out), 100) if rng.random() < 0.5 else len(out))
        length = rng.randint(1, max(1, min(40, len(out) - at)))
        match rng.randrange(8):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = out[at : at + length] * rng.choice((1, 2, 50))
            case 4:
                start = rng.randrange(len(out))
                out[at : at + length] = out[start : start + length]
            case 5:
                out[at:at] = rng.randbytes(length)
            case 6:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) % 256**size
                out[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))
            case 7:
                del out[rng.randrange(len(out)) :]
    return bytes(out)


def mutate_words(text: str, rng: random.Random, words: Sequence[str], separators: str) -> str:
    """Words of `text` (between any of `separators`) replaced, doubled, swapped, left out; `words` put in."""
    parts, word = [], ""
    for char in text:
        if char in separators:
            parts += [word, char]
            word = ""
        else:
            word += char
    parts.append(word)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(parts))
        match rng.randrange(5):
            case 0:
                parts[at] = rng.choice(words)
            case 1:
                parts.insert(at, rng.choice(words))
            case 2:
                parts.insert(at, parts[rng.randrange(len(parts))])
            case 3:
                other = rng.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            case 4 if len(parts) > 1:
                del parts[at]
    return "".join(parts)


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1e-3, -0.5, 1e300, float("inf"), float("nan"), 2**31, 2**63, 10**30, "", "none",
    "x", "auto", "1e-3", "\x1b[31m", "\u202e", "../x", "x.py:Net", "torchvision:resnet18", "a" * 5000, [], [[]], {},
    {"a": 1}, [1, 2, 3], ["relu"] * 50, {"conv": 4}, "\ud800",
)  # fmt: skip


def mutate_json(document: Any, rng: random.Random, odd: Sequence[Any] = ODD) -> Any:
    """One place of a document of lists and mappings changed: another value, left out, doubled, moved, renamed."""
    places = list(_places(document))
    if not places:
        return _copy(rng.choice(odd))
    parent, key = rng.choice(places)
    match rng.randrange(5):
        case 0 | 1:
            parent[key] = _copy(rng.choice(odd))
        case 2:
            del parent[key]
        case 3:
            other, other_key = rng.choice(places)
            if other_key in other if isinstance(other, dict) else other_key < len(other):
                parent[key] = _copy(other[other_key])
        case 4 if isinstance(parent, dict):
            parent[rng.choice((str(key).upper(), f"{key}x", "x", "", "\x1b[2J"))] = parent.pop(key)
    return document


def _places(document: Any):
    if isinstance(document, dict | list):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from _places(document[key])


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
