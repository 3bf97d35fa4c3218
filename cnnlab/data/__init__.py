"""Data sets as uint8 arrays: found, downloaded, decoded, checked, split, augmented.

| room | what it does |
|---|---|
| `loading` | `load`: from what a person names to a data set |
| `dataset` | `DataSet`, `Part`, `Progress`; the fingerprint |
| `standard` | the sets with a name: what they hold, where they lie, where they come from |
| `digits`, `idx`, `cifar` | their formats |
| `download` | sources, resuming, hashes |
| `web` | a server's answer, bounded in time |
| `layout`, `folders`, `archives`, `packed_folders` | pictures by class in a folder or an archive |
| `decoding` | pictures to arrays, in parallel |
| `cache` | decoded sets kept on the disk |
| `duplicates` | pictures that stand in two parts |
| `splitting` | validation split, test set aside, sample |
| `augmentation` | batches: crop, mirror, cutout; mixup |
"""

from cnnlab.data.augmentation import Augmentation, Moves, draw, in_turns, mixup, pick
from cnnlab.data.dataset import DataSet, Part, Progress
from cnnlab.data.loading import load
from cnnlab.data.splitting import sample, split
from cnnlab.data.standard import DATASETS

__all__ = [
    "DATASETS",
    "Augmentation",
    "DataSet",
    "Moves",
    "Part",
    "Progress",
    "draw",
    "in_turns",
    "load",
    "mixup",
    "pick",
    "sample",
    "split",
]
