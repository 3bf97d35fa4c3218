"""Layers made of layers."""

from collections.abc import Iterator, Mapping

from cnnlab.backprop.layer import Array, Layer, ShapeError
from cnnlab.errors import UsageError


class Sequential(Layer):
    """One layer after the other: `Sequential(layer, layer)`, or `Sequential({"name": layer})`."""

    def __init__(self, *layers: Layer | Mapping[str, Layer]) -> None:
        super().__init__()
        named = layers[0] if len(layers) == 1 and isinstance(layers[0], Mapping) else dict(enumerate(layers))
        self._layers = {str(name): layer for name, layer in named.items() if isinstance(layer, Layer)}
        if len(self._layers) != len(named):
            raise UsageError("Sequential expects layers, or one mapping of names to layers")

    def _describe(self) -> str:
        return f"{len(self)} layers"

    def children(self) -> Mapping[str, Layer]:
        """The layers by name, in order."""
        return self._layers

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> Layer:
        return list(self._layers.values())[index]

    def forward(self, x: Array) -> Array:
        """fᴸ(… f²(f¹(x)))."""
        self._check_input(x)
        for layer in self:
            x = layer.forward(x)
        return self._keep(x)

    def backward(self, delta: Array) -> Array:
        """The chain rule: δ passes from the last layer to the first.

        Scalar: δˡ⁻¹[k] = Σⱼ δˡ[j] · ∂aˡ[j]/∂aˡ⁻¹[k], for l = L, …, 1
        Vector: δˡ⁻¹ = (∂aˡ/∂aˡ⁻¹)ᵀ δˡ
        """
        self._recall(delta)
        for layer in reversed(list(self)):
            delta = layer.backward(delta)
        return delta


class Residual(Layer):
    """y = F(x) + x, or F(x) + S(x) with a projection S where the shapes differ (He et al. 2016)."""

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__()
        if not isinstance(body, Layer) or not isinstance(shortcut, Layer | None):
            kinds = f"{type(body).__name__} and {type(shortcut).__name__}"
            raise UsageError(f"Residual expects a layer, and a layer or None as shortcut, received {kinds}")
        self.body = body
        self.shortcut = shortcut

    def _describe(self) -> str:
        return f"{self.body}" if self.shortcut is None else f"{self.body}, {self.shortcut}"

    def children(self) -> Mapping[str, Layer]:
        """`body`, and `shortcut` where there is one."""
        return {"body": self.body} if self.shortcut is None else {"body": self.body, "shortcut": self.shortcut}

    def forward(self, x: Array) -> Array:
        """F(x) + x, or F(x) + S(x).

        Raises:
            ShapeError: the two terms differ in shape.
        """
        self._check_input(x)
        residual = self.body.forward(x)
        kept = x if self.shortcut is None else self.shortcut.forward(x)
        if residual.shape != kept.shape:
            raise ShapeError(
                f"{self}: F(x) has shape {residual.shape}, the shortcut {kept.shape}; give a shortcut that fits"
            )
        return self._keep(residual + kept)

    def backward(self, delta: Array) -> Array:
        """δ passes through both branches and is added: with F′ near 0 it still arrives whole.

        Scalar: ∂J/∂x[k] = Σⱼ δ[j] · ∂F[j]/∂x[k] + δ[k]
        Vector: ∂J/∂x = (∂F/∂x)ᵀ δ + δ, or (∂F/∂x)ᵀ δ + (∂S/∂x)ᵀ δ
        """
        self._recall(delta)
        through_body = self.body.backward(delta)
        return through_body + (delta if self.shortcut is None else self.shortcut.backward(delta))
