"""What the PyTorch peers have in common: the net, the data set of the tutorials, batched crops in memory."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from workload import BATCH, LR, MEAN, MOMENTUM, PAD, STD, WEIGHT_DECAY, WORKERS, recipe


def net() -> nn.Module:
    """The benchmark's `cnn` with its initial weights, contiguous, fp32."""
    from cnnlab.training.net import build_net

    return build_net(recipe(), (3, 32, 32), 10)


def optimizer(parameters, **options) -> torch.optim.SGD:
    """SGD with Nesterov momentum."""
    return torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, **options)


class PictureData(Dataset):
    """As in the tutorials: one PIL image at a time through a chain of torchvision's transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        from torchvision import transforms

        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=PAD, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def picture_loader(images: np.ndarray, labels: np.ndarray) -> DataLoader:
    """The usual loader: two workers, kept from epoch to epoch, as rounds are shorter here than real epochs."""
    return DataLoader(
        PictureData(images, labels),
        batch_size=BATCH,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        persistent_workers=True,
    )


class InMemory(Dataset):
    """All images as normalised, padded floats; a batch is cut and mirrored at once."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        self.padded = F.pad(pixels.sub_(mean).div_(std), (PAD,) * 4, mode="reflect")
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, chosen: list[int]) -> tuple[Tensor, Tensor]:
        shifts = torch.randint(0, 2 * PAD + 1, (len(chosen), 2)).tolist()
        batch = torch.stack(
            [self.padded[index, :, y : y + 32, x : x + 32] for index, (y, x) in zip(chosen, shifts, strict=True)]
        )
        mirrored = torch.rand(len(chosen)) < 0.5
        batch[mirrored] = batch[mirrored].flip(3)
        return batch.contiguous(memory_format=torch.channels_last), self.labels[chosen]
