"""One kernel on one picture, with the command's meaning: channels, alpha, padding, response."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnnlab.choices import require_choice
from cnnlab.errors import UsageError
from cnnlab.imaging.correlation import Correlation
from cnnlab.imaging.kernels import Kernel, checked_matrix
from cnnlab.imaging.levels import RESPONSES, Response, default_response, to_levels
from cnnlab.imaging.parsing import RunTensors, parse_kernel
from cnnlab.imaging.pictures import Picture, read_picture
from cnnlab.imaging.tiles import PADS, Pad
from cnnlab.text import printable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Channels = Literal["each", "gray", "sum"]
CHANNELS: tuple[Channels, ...] = ("each", "gray", "sum")


@dataclass(frozen=True)
class FilterOptions:
    """How kernels are applied. None is the kernel's own choice: see `apply_kernel`."""

    pad: Pad | None = None
    stride: int | None = None
    channels: Channels = "each"
    response: Response | None = None
    flip: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("pad", self.pad, PADS),
            ("channels", self.channels, CHANNELS),
            ("response", self.response, RESPONSES),
        ):
            if value is not None:
                require_choice(name, value, choices)


@dataclass(frozen=True, eq=False)
class Filtered:
    """A kernel's answer: the `picture`, the range of the responses before they became levels, and what was used.

    `job` can work the response out again, for figures.
    """

    picture: Picture
    kernel: Kernel
    job: Correlation
    pad: Pad
    stride: int
    response: Response
    low: float
    high: float
    flip: bool
    seconds: float


def apply_kernel(picture: Picture, kernel: Kernel, options: FilterOptions) -> Filtered:
    """Filter a picture.

    Padding is `reflect` and the stride 1, but for pools, which take whole windows (`none`) and have a stride of their
    own; the response is that of `default_response`. Alpha is kept as it is at the pixels that remain; a colour profile
    goes where the number of channels changes.

    Raises:
        UsageError: the kernel does not fit the picture, or its planes do not fit the channels.
    """
    started = time.perf_counter()
    pad: Pad = options.pad or ("none" if kernel.stride else "reflect")
    stride = options.stride if options.stride is not None else kernel.stride or 1
    pixels, used, largest = _channels(picture.pixels, kernel.flipped() if options.flip else kernel, options.channels)
    response = options.response or default_response(kernel, largest or float(np.iinfo(picture.pixels.dtype).max))
    summed = options.channels == "sum" and kernel.kind in ("magnitude", "max")
    job = Correlation(pixels, used, pad, stride, picture.alpha, precise=False, max_value=largest, summed=summed)
    rows, columns = job.grids
    out, low, high = to_levels(job, response, picture.pixels.dtype, threads=options.threads)
    alpha = None if picture.alpha is None else picture.alpha[rows.anchors[:, None], columns.anchors]
    profile = picture.icc_profile if out.shape[2] == picture.pixels.shape[2] else None
    filtered = Picture(out, alpha, picture.format, profile)
    return Filtered(
        filtered, kernel, job, pad, stride, response, low, high, options.flip, time.perf_counter() - started
    )


def _channels(pixels: np.ndarray, kernel: Kernel, channels: Channels) -> tuple[np.ndarray, Kernel, float | None]:
    """The planes that are filtered, the kernel for them, and their largest value where it is not the dtype's."""
    if channels == "gray" and pixels.shape[2] == 3:
        pixels = to_gray(pixels)
    if kernel.kind == "planes":
        if len(kernel.matrices) == pixels.shape[2]:
            return pixels, kernel, None
        if pixels.shape[2] > 1:
            raise UsageError(
                f"the kernel {printable(kernel.label)} has {len(kernel.matrices)} planes, the picture "
                f"{pixels.shape[2]} channels",
                hint="Take a kernel of the first layer",
            )
        if len(kernel.matrices) != 3:
            raise UsageError(f"the kernel {printable(kernel.label)} has {len(kernel.matrices)} planes, the picture 1")
        return pixels, Kernel(kernel.name, (sum(kernel.matrices[1:], kernel.matrices[0]),), title=kernel.title), None
    if channels == "sum" and kernel.kind == "linear" and pixels.shape[2] == 3:
        # The sum of the responses is the response to the sum; of maxima and magnitudes it is not.
        red, green, blue = (pixels[:, :, channel, None] for channel in range(3))
        return red.astype(np.uint16) + green + blue, kernel, 765.0
    return pixels, kernel, None


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """Luma of ITU-R BT.601, as Pillow has it: (H, W, 3) uint8 to (H, W, 1)."""
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def filter_image(
    image: "str | Path | ArrayLike",
    kernel: "str | ArrayLike | Kernel",
    *,
    pad: Pad | None = None,
    stride: int | None = None,
    channels: Channels = "each",
    response: Response | None = None,
    flip: bool = False,
    threads: int | None = None,
    run_tensors: RunTensors | None = None,
) -> np.ndarray:
    """`cnnlab filter` on one picture and one kernel, from Python.

    Args:
        image: a file's path, or pixels (H, W), (H, W, 1), (H, W, 3) or, with alpha, (H, W, 4), uint8; or (H, W)
            uint16; whatever NumPy makes such an array of, a Pillow image too.
        kernel: as the command takes it (`"gaussian:size=15"`, `"-1 0 1; -2 0 2; -1 0 1"`), or a matrix (kh, kw).
        pad, stride, channels, response, flip: the command's options, with its defaults.
        threads: all cores by default.
        run_tensors: finds the weights of a run, for learnt kernels such as `"last:conv1[3]"`.

    Returns:
        (H', W') for gray, (H', W', 3) or (H', W', 4) otherwise; uint8, or uint16 for 16-bit gray.

    Raises:
        PictureError: the file cannot be read. UsageError: a wrong kernel or option.
    """
    options = FilterOptions(pad, stride, channels, response, flip, threads)
    if isinstance(kernel, str):
        kernel = parse_kernel(kernel, run_tensors)
    elif not isinstance(kernel, Kernel):
        kernel = Kernel("custom", (checked_matrix(kernel, "the kernel"),))
    picture = read_picture(Path(image)) if isinstance(image, str | Path) else _picture_of(image)
    out = apply_kernel(picture, kernel, options).picture
    planes = out.pixels if out.alpha is None else np.dstack([out.pixels, out.alpha])
    return planes[:, :, 0] if planes.shape[2] == 1 else planes


def _picture_of(image: object) -> Picture:
    try:
        pixels = np.asarray(image)
    except ValueError:
        pixels = np.empty(0, object)  # lists of unequal lengths
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    deep = planes.dtype == np.uint16 and planes.shape[-1] == 1
    if (
        planes.ndim != 3
        or planes.shape[2] not in (1, 3, 4)
        or planes.size == 0
        or not (deep or planes.dtype == np.uint8)
    ):
        raise UsageError(
            "expected pixels (H, W), (H, W, 3) or (H, W, 4) of uint8, or (H, W) of uint16; "
            f"received {pixels.shape} of {pixels.dtype}"
        )
    return Picture(planes[:, :, :3], planes[:, :, 3] if planes.shape[2] == 4 else None)
