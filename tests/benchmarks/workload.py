"""What every contender trains: the same images, batch size, normalisation and optimiser; the net is `cnn`.

Six convolutions 32-32-64-64-128-128 with batch normalisation, pooling and ReLU, then one fully connected layer.
Augmentation: reflect padding by 4 and a random 32×32 cut, mirrored half the time.
"""

from pathlib import Path

import numpy as np

BATCH = 128
PAD = 4
STAGES = (32, 64, 128)
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
WORKERS = 2
ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.gz"


def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Real CIFAR-10 (JPEG) images where they are, noise elsewhere: speed does not depend on it."""
    if ARCHIVE.is_file():
        from cnnlab.data import load

        part = load(str(ARCHIVE)).train
        chosen = np.random.default_rng(0).permutation(len(part))[:count]
        return part.images[chosen], part.labels[chosen]
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count)


def recipe():
    """The recipe that cnnlab trains with here: nothing that the peers do not do."""
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec

    settings = ["optim.name=sgd", "optim.norm_bias_lr=1", "train.initial_scale=1", "data.augment.alternate=false"]
    settings += ["train.ema=0", "train.label_smoothing=0", "data.val_fraction=0", f"train.batch_size={BATCH}"]
    settings += [f"data.augment.crop={PAD}", "data.augment.flip=true", "optim.schedule=constant"]
    settings += [f"optim.momentum={MOMENTUM}", f"optim.weight_decay={WEIGHT_DECAY}"]
    return resolve(
        arch=parse_spec(f"cnn:width={STAGES[0]},head=flatten"), settings=settings, flags={"--epochs": 1000, "--lr": LR}
    )
