"""PyTorch's tutorial: DataLoader with two workers, PIL transforms, fp32."""

import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from peers.torch_parts import net, optimizer, picture_loader
from workload import BATCH


def epochs(images: np.ndarray, labels: np.ndarray, threads: int, variant: str) -> Iterator[float]:
    """Each epoch's images/s."""
    torch.set_num_threads(threads)
    model, loader = net(), picture_loader(images, labels)
    sgd = optimizer(model.parameters())
    while True:
        model.train()
        started, running_loss = time.perf_counter(), 0.0
        for inputs, targets in loader:
            sgd.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            sgd.step()
            running_loss += loss.item()
        yield len(loader) * BATCH / (time.perf_counter() - started)
