"""A worked example of each layer on 3×3 numbers: by the layer itself, and single elements by the scalar formula."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array
from cnnlab.gradient_check.subject import LossAtTarget, Subject

X = np.array([[1.0, 2.0, 0.0], [-1.0, 3.0, 1.0], [2.0, 0.0, -2.0]])
DELTA = np.array([[1.0, -1.0, 2.0], [0.0, 1.0, -2.0], [2.0, 1.0, 1.0]])


@dataclass(frozen=True)
class Worked:
    """The example: what is given, what comes out, and single elements written out by the scalar formula."""

    given: dict[str, Array]
    results: dict[str, Array]
    lines: list[str] = field(default_factory=list)


def _run(layer: Any, x: Array, delta: Array | None = None) -> tuple[Array, dict[str, Array]]:
    """The output, and the gradients by name; δ, brought to the output's shape, is 1 everywhere if None."""
    subject = Subject(layer, x)
    output = subject.forward()
    upstream = np.ones_like(output) if delta is None else delta.reshape(output.shape)
    return output, subject.backward(upstream)


def _map(array: Array) -> Array:
    """(1, 1, H, W) as (H, W); what is no map stays as it is."""
    return array.reshape(array.shape[-2:]) if array.ndim == 4 else array


def _sum(factors: Sequence[tuple[Any, ...]]) -> str:
    """`1·2 + 3·(-4) = -10`."""
    total = sum(float(np.prod(terms)) for terms in factors)
    return " + ".join("·".join(_number(one) for one in terms) for terms in factors) + f" = {total:.4g}"


def _number(value: float) -> str:
    return f"({value:.4g})" if value < 0 else f"{value:.4g}"


def _linear(name: str) -> Worked:
    layer = backprop.Linear(3, 3, dtype=np.float64)
    layer.weight, layer.bias = np.array([[1.0, 0.0, 2.0], [-1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]), np.zeros(3)
    x, delta = X[:1], DELTA[:1]
    z, grads = _run(layer, x, delta)
    by_input = [(layer.weight[j, 0], delta[0, j]) for j in range(3)]
    lines = [
        f"∂J/∂w[0,1] = δ[0]·x[1] = {_sum([(delta[0, 0], x[0, 1])])}",
        f"∂J/∂x[0] = w[0,0]·δ[0] + w[1,0]·δ[1] + w[2,0]·δ[2] = {_sum(by_input)}",
    ]
    return Worked(
        {"x": x, "W": layer.weight, "δ": delta},
        {"z = x Wᵀ": z, "∂J/∂W = δᵀ x": grads["weight"], "∂J/∂x = δ W": grads["input"]},
        lines,
    )


def _conv(name: str) -> Worked:
    layer = backprop.Conv2d(1, 1, 2, bias=False, dtype=np.float64)
    layer.weight = np.array([[[[1.0, 0.0], [2.0, -1.0]]]])
    w: Array = layer.weight[0, 0]
    delta: Array = np.array([[1.0, 2.0], [-1.0, 3.0]])
    z, grads = _run(layer, X.reshape(1, 1, 3, 3), delta)
    by_weight = [(delta[i, j], X[i, j + 1]) for i, j in np.ndindex(2, 2)]
    by_input = [(delta[1 - u, 1 - v], w[u, v]) for u, v in np.ndindex(2, 2)]
    lines = [
        f"z[0,0] = Σ x[u,v]·w[u,v] = {_sum([(X[u, v], w[u, v]) for u, v in np.ndindex(2, 2)])}",
        f"∂J/∂w[0,1] = Σ δ[i,j]·x[i,j+1] = {_sum(by_weight)}",
        f"∂J/∂x[1,1] = Σ δ[1−u,1−v]·w[u,v] = {_sum(by_input)}",
    ]
    return Worked(
        {"x": X, "w": w, "δ": delta},
        {
            "z = x ⋆ w": _map(z),
            "rot180(w)": w[::-1, ::-1],
            "∂J/∂w = x ⋆ δ": _map(grads["weight"]),
            "∂J/∂x = pad(δ) ⋆ rot180(w)": _map(grads["input"]),
        },
        lines,
    )


def _max_pool(name: str) -> Worked:
    delta = np.array([[1.0, 2.0], [-1.0, 4.0]])
    z, grads = _run(backprop.MaxPool2d(2, stride=1), X.reshape(1, 1, 3, 3), delta)
    lines = [
        "x[1,1] = 3 is the greatest of all four windows (2×2, stride 1), so it gets all four δ:",
        f"∂J/∂x[1,1] = {_sum([(one,) for one in delta.ravel()])}; every other element gets 0",
    ]
    return Worked({"x": X, "δ": delta}, {"z": _map(z), "∂J/∂x": _map(grads["input"])}, lines)


def _global_max_pool(name: str) -> Worked:
    delta = np.array([[1.8]])
    z, grads = _run(backprop.AdaptiveMaxPool2d(1), X.reshape(1, 1, 3, 3), delta)
    lines = ["x[1,1] = 3 is the greatest of the map: ∂J/∂x[1,1] = δ = 1.8; every other element gets 0"]
    return Worked({"x": X, "δ": delta}, {"z": _map(z), "∂J/∂x": _map(grads["input"])}, lines)


def _avg_pool(name: str) -> Worked:
    delta = np.array([[1.0, 2.0], [-1.0, 4.0]])
    z, grads = _run(backprop.AvgPool2d(2, stride=1), X.reshape(1, 1, 3, 3), delta)
    lines = [
        f"∂J/∂x[0,1] = ¼ (δ[0,0] + δ[0,1]) = {_sum([(0.25, delta[0, 0]), (0.25, delta[0, 1])])}: two windows hold it",
        f"∂J/∂x[1,1] = ¼ Σ δ = {_sum([(0.25, one) for one in delta.ravel()])}: all four windows hold it",
    ]
    return Worked({"x": X, "δ": delta}, {"z": _map(z), "∂J/∂x": _map(grads["input"])}, lines)


def _global_pool(name: str) -> Worked:
    delta = np.array([[1.8]])
    z, grads = _run(backprop.AdaptiveAvgPool2d(1), X.reshape(1, 1, 3, 3), delta)
    return Worked(
        {"x": X, "δ": delta}, {"z": _map(z), "∂J/∂x": _map(grads["input"])}, ["∂J/∂x[i,j] = δ / (3·3) = 1.8 / 9 = 0.2"]
    )


def _activation(name: str) -> Worked:
    layer = getattr(backprop, name)()
    a, grads = _run(layer, X, DELTA)
    slope = layer.backward(np.ones_like(X))
    line = f"∂J/∂z[1,2] = δ[1,2]·f′(z[1,2]) = f′({_number(X[1, 2])})·δ = {_sum([(slope[1, 2], DELTA[1, 2])])}"
    return Worked({"z": X, "δ": DELTA}, {"a = f(z)": a, "f′(z)": slope, "∂J/∂z = δ ∘ f′(z)": grads["input"]}, [line])


def _flatten(name: str) -> Worked:
    delta = np.arange(9.0).reshape(1, 9)
    z, grads = _run(backprop.Flatten(), X.reshape(1, 1, 3, 3), delta)
    line = "x[1,2] stands at 1·3 + 2 = 5 of the row, so ∂J/∂x[1,2] = δ[5] = 5"
    return Worked({"x": X, "δ": delta}, {"z": z, "∂J/∂x": _map(grads["input"])}, [line])


def _dropout(name: str) -> Worked:
    layer = backprop.Dropout(0.5)
    z, grads = _run(layer, X, DELTA)
    mask = layer.backward(np.ones_like(X))
    line = f"∂J/∂x[0,0] = m[0,0]·δ[0,0] = {_sum([(mask[0, 0], DELTA[0, 0])])}"
    return Worked({"x": X, "δ": DELTA, "m": mask}, {"y = m ∘ x": z, "∂J/∂x = m ∘ δ": grads["input"]}, [line])


def _batch_norm(name: str) -> Worked:
    layer = getattr(backprop, name)(3, eps=0.0, dtype=np.float64)
    layer.weight = np.array([1.0, 2.0, 1.0])
    shape = (3, 3) if name == "BatchNorm1d" else (3, 3, 1, 1)
    y, grads = _run(layer, X.reshape(shape), DELTA)
    normal = ((X - X.mean(axis=0)) / X.std(axis=0))[:, 0]
    d = DELTA[:, 0]
    factor, mean, product = 1 / X[:, 0].std(), d.mean(), (d * normal).mean()
    images = "images" if name == "BatchNorm1d" else "images of one pixel"
    lines = [
        f"three {images} (rows), three channels (columns); channel 0:",
        f"μ = {X[:, 0].mean():.4g}, σ = {X[:, 0].std():.4g}, mean(δ) = {mean:.4g}, mean(δ ∘ x̂) = {product:.4g}",
        f"∂J/∂x[0,0] = γ/σ · (δ − mean(δ) − x̂·mean(δ ∘ x̂)) = {factor:.4g} · ({d[0]:.4g} − {mean:.4g} − "
        f"{_number(normal[0])}·{_number(product)}) = {factor * (d[0] - mean - normal[0] * product):.4g}",
    ]
    return Worked(
        {"x": X, "γ": layer.weight[None], "δ": DELTA},
        {
            "y": y.reshape(3, 3),
            "∂J/∂γ": grads["weight"][None],
            "∂J/∂β": grads["bias"][None],
            "∂J/∂x": grads["input"].reshape(3, 3),
        },
        lines,
    )


def _residual(name: str) -> Worked:
    body = backprop.Conv2d(1, 1, 1, bias=False, dtype=np.float64)
    body.weight = np.full((1, 1, 1, 1), 0.1)
    y, grads = _run(backprop.Residual(body), X.reshape(1, 1, 3, 3), DELTA)
    return Worked(
        {"x": X, "δ": DELTA},
        {"y = 0.1·x + x": _map(y), "∂J/∂x = 0.1·δ + δ": _map(grads["input"])},
        ["F(x) = 0.1·x, so δ alone would shrink to a tenth; with the shortcut:", "∂J/∂x[0,2] = 0.1·2 + 2 = 2.2"],
    )


def _sequential(name: str) -> Worked:
    first, second = (backprop.Linear(3, 3, bias=False, dtype=np.float64) for _ in range(2))
    first.weight, second.weight = np.eye(3) * 2, np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    net = backprop.Sequential(first, backprop.Sigmoid(), second)
    z, grads = _run(net, X[:1], DELTA[:1])
    at_a = DELTA[:1] @ second.weight
    at_z = net[1].backward(at_a)
    lines = [
        "δ³ = δ; below the second linear layer: δ W²; below the sigmoid: ∘ σ′(z); below the first: times W¹",
        f"at unit 0: {at_a[0, 0]:.4g} → {at_z[0, 0]:.4g} → {grads['input'][0, 0]:.4g}",
    ]
    return Worked(
        {"x": X[:1], "W¹": first.weight, "W²": second.weight, "δ": DELTA[:1]},
        {"z": z, "δ W²": at_a, "(δ W²) ∘ σ′": at_z, "∂J/∂x": grads["input"]},
        lines,
    )


def _half_squared(name: str) -> Worked:
    target = np.eye(3)
    value, grads = _run(LossAtTarget(backprop.HalfSquaredError(), target), X)
    lines = [
        f"J = 1/3 · ½ Σ (a − y)² = {value[0]:.4g}",
        "∂J/∂a[0,1] = (a − y) / N = (2 − 0) / 3 = 0.6667",
    ]
    return Worked({"a": X, "y": target}, {"∂J/∂a = (a − y) / 3": grads["input"]}, lines)


def _cross_entropy(name: str) -> Worked:
    target = np.array([0, 1, 2])
    value, grads = _run(LossAtTarget(backprop.CrossEntropyLoss(), target), X)
    p = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    lines = [
        f"J = −1/3 · (log {p[0, 0]:.4g} + log {p[1, 1]:.4g} + log {p[2, 2]:.4g}) = {value[0]:.4g}",
        f"∂J/∂z[0,0] = (p − y) / N = ({p[0, 0]:.4g} − 1) / 3 = {(p[0, 0] - 1) / 3:.4g}",
    ]
    return Worked({"z": X, "y": np.eye(3)}, {"p = softmax(z)": p, "∂J/∂z = (p − y) / 3": grads["input"]}, lines)


EXAMPLES: dict[str, Callable[[str], Worked]] = {
    "Linear": _linear,
    "Conv2d": _conv,
    "MaxPool2d": _max_pool,
    "AvgPool2d": _avg_pool,
    "AdaptiveMaxPool2d": _global_max_pool,
    "AdaptiveAvgPool2d": _global_pool,
    **dict.fromkeys(("ReLU", "Sigmoid", "Tanh", "GELU", "SiLU", "Identity"), _activation),
    "Flatten": _flatten,
    "Dropout": _dropout,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "Residual": _residual,
    "Sequential": _sequential,
    "HalfSquaredError": _half_squared,
    "CrossEntropyLoss": _cross_entropy,
}
"""The worked example of each layer."""
