"""Multiply-adds, counted where every product ends: at the operations of aten, whatever function asked for them."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class CountProducts(TorchDispatchMode):
    """Tells `add` the multiply-adds of each convolution, matrix product and attention that is asked for inside."""

    supports_higher_order_operators = True

    def __init__(self, add: Callable[[int], None]) -> None:
        super().__init__()
        self.add = add

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else each call would import the compiler, which takes longer than all the rest

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        name = getattr(getattr(function, "overloadpacket", function), "__name__", "")
        if name.startswith("_scaled_dot_product"):
            name = "_scaled_dot_product"
        if name in _MACS:
            self.add(_MACS[name](args, output))
        return output


def _product(left: int) -> Callable[[tuple[Any, ...], Any], int]:
    """(…, n, m) · (…, m, p), n·m·p each; the arguments from `left` on are the two."""
    return lambda args, output: args[left].numel() * args[left + 1].shape[-1]


def _vector(left: int) -> Callable[[tuple[Any, ...], Any], int]:
    """A matrix, or a vector, times a vector."""
    return lambda args, output: args[left].numel()


def _convolution(args: tuple[Any, ...], output: Any) -> int:
    """Each output sums over a kernel; of a transposed convolution, each input is spread over one."""
    image, weight, transposed = args[0], args[1], args[6]
    return int((image if transposed else output).numel() * prod(weight.shape[1:]))


def _attention(args: tuple[Any, ...], output: Any) -> int:
    """Q·Kᵀ and A·V of queries (…, n, d), keys (…, m, d) and values (…, m, e)."""
    query, key, value = args[:3]
    return int(prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


def _bilinear(args: tuple[Any, ...], output: Any) -> int:
    """x·A·y of x (N, d), A (k, d, e) and y (N, e): x·A, then that times y."""
    images, weight = args[0].numel() // args[1].shape[1], args[1]
    return int(images * (weight.numel() + weight.shape[0] * weight.shape[2]))


def _recurrent(args: tuple[Any, ...], output: Any) -> int:
    """oneDNN's LSTM, one layer and direction: the input (steps, N, …) times both weights at every step."""
    steps: Tensor = args[0]
    return int(prod(steps.shape[:2]) * (args[1].numel() + args[2].numel()))


_MACS: Mapping[str, Callable[[tuple[Any, ...], Any], int]] = {
    "mm": _product(0),
    "bmm": _product(0),
    "addmm": _product(1),
    "_addmm_activation": _product(1),
    "baddbmm": _product(1),
    "addbmm": _product(1),
    "mv": _vector(0),
    "addmv": _vector(1),
    "dot": _vector(0),
    "vdot": _vector(0),
    "linear": lambda args, output: args[0].numel() * args[1].shape[0],  # where a device has its own
    "convolution": _convolution,
    "deform_conv2d": lambda args, output: output.numel() * prod(args[1].shape[1:]),
    "_scaled_dot_product": _attention,
    "_trilinear": _bilinear,
    "mkldnn_rnn_layer": _recurrent,
}
