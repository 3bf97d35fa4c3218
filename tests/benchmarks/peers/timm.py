"""The loop of timm's training script with its loader and optimiser: `--amp --amp-dtype bfloat16 --channels-last`."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from peers.torch_parts import PictureData, net
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter
from workload import BATCH, LR, MEAN, MOMENTUM, STD, WEIGHT_DECAY, WORKERS


def epochs(images: np.ndarray, labels: np.ndarray, threads: int, variant: str) -> Iterator[float]:
    """Each epoch's images/s."""
    torch.set_num_threads(threads)
    data = PictureData(images, labels)
    transform = data.transform
    loader = create_loader(
        data,
        input_size=(3, 32, 32),
        batch_size=BATCH,
        is_training=True,
        use_prefetcher=False,
        mean=MEAN,
        std=STD,
        num_workers=WORKERS,
        persistent_workers=True,
        device=torch.device("cpu"),
    )
    loader.dataset.transform = transform  # the same augmentation as everybody's, in place of ImageNet's
    model = net().to(memory_format=torch.channels_last)
    # What timm calls sgd has Nesterov momentum.
    sgd = create_optimizer_v2(model, opt="sgd", lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    loss_function = torch.nn.CrossEntropyLoss()
    while True:
        model.train()
        started, losses, count = time.perf_counter(), AverageMeter(), 0
        sgd.zero_grad()
        for inputs, targets in loader:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_function(model(inputs), targets)
            loss.backward()
            sgd.step()
            sgd.zero_grad()
            losses.update(loss.item(), len(inputs))
            count += len(inputs)
        yield count / (time.perf_counter() - started)
