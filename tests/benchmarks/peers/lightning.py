"""Lightning's Trainer. `fp32`, `bf16`: the usual DataLoader; `bf16-tuned`: in-memory batches and channels_last too."""

import time
from collections.abc import Iterator

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from peers.torch_parts import InMemory, net, optimizer, picture_loader
from torch.utils.data import DataLoader
from workload import BATCH


class Net(lightning.LightningModule):
    """The net as a user of Lightning writes it down."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """The mean loss over a batch."""
        inputs, targets = batch
        return F.cross_entropy(self.model(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with Nesterov momentum."""
        return optimizer(self.parameters())


class Clock(lightning.Callback):
    """Seconds of the latest epoch, without what `fit` sets up before it."""

    seconds = 0.0

    def on_train_start(self, *_: object) -> None:
        """The loop begins."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        """The epoch is over."""
        self.seconds = time.perf_counter() - self.started


def epochs(images: np.ndarray, labels: np.ndarray, threads: int, variant: str) -> Iterator[float]:
    """Each epoch's images/s. No logger, no checkpoints, no bars: nothing but the training."""
    torch.set_num_threads(threads)
    model, loader = net(), picture_loader(images, labels)
    if variant == "bf16-tuned":
        model = model.to(memory_format=torch.channels_last)
        data = InMemory(images, labels)
        loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True, collate_fn=lambda batch: batch)
    clock, module = Clock(), Net(model)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=0,
        precision="32-true" if variant == "fp32" else "bf16-mixed",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
    )
    while True:
        assert trainer.fit_loop.max_epochs is not None
        trainer.fit_loop.max_epochs += 1
        trainer.fit(module, loader)
        yield len(loader) * BATCH / clock.seconds
