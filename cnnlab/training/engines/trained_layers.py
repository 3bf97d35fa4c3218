"""Which layers of a torch net train in a step, which rest, which are frozen; and whose gradient tells of all others."""

import math

from torch import Tensor, nn

from cnnlab.models.whitening import Whitening
from cnnlab.recipe.schema import TrainSection
from cnnlab.training.engines.parameter_groups import up_to


class TrainedLayers:
    """The parameters of a net by what the recipe has them do."""

    def __init__(self, net: nn.Module, train: TrainSection) -> None:
        """Find those that `train.freeze_up_to` and `train.rest_up_to` name.

        Raises:
            RecipeError: no layer has that name, or none lies behind it.
        """
        named = list(net.named_parameters())
        self.lowest = up_to(train, "freeze_up_to", named)
        """Those of the layers up to `train.freeze_up_to`, until they are frozen."""
        self._net = net
        self._whitenings = [layer for layer in net.modules() if isinstance(layer, Whitening)]
        self._resting = [each for each in up_to(train, "rest_up_to", named) if each.requires_grad]
        self._probes = self._choose_probes()

    def choose(self, epoch: int, *, rest: bool) -> None:
        """Say what trains in a step: whitening's biases in some epochs, the layers that rest in some steps."""
        for parameter in self._resting:
            parameter.requires_grad_(True)
        for whitening in self._whitenings:
            whitening.requires_bias_grad(epoch)
        if rest:
            for parameter in self._resting:
                parameter.requires_grad_(False)

    def freeze_lowest(self) -> bool:
        """Train the layers up to `train.freeze_up_to` no more; whether any did until now."""
        if not self.lowest:
            return False
        for parameter in self._resting:  # those that rested in the step before train again
            parameter.requires_grad_(True)
        for parameter in self.lowest:
            parameter.requires_grad_(False)
            parameter.grad = None
        self._resting = [each for each in self._resting if all(each is not frozen for frozen in self.lowest)]
        self.lowest, self._whitenings = [], []
        self._probes = self._choose_probes()
        return True

    def probe(self) -> Tensor | None:
        """A small gradient, the lowest layer's, in which the δ of all others meet; None where there is none."""
        return next((probe.grad for probe in self._probes if probe.grad is not None), None)

    def gradient_is_finite(self) -> bool:
        """Look at `probe`; if it is bad, at all."""
        probe = self.probe()
        if probe is None or math.isfinite(float(probe.sum())):
            return True
        return all(p.grad is None or bool(p.grad.isfinite().all()) for p in self._net.parameters())

    def _choose_probes(self) -> list[nn.Parameter]:
        """The lowest parameter of all that always train, and of those that do not rest; if any has one axis, of these.

        Parameters of one axis are small.
        """
        not_always = [layer.bias for layer in self._whitenings]
        probes = []
        for left_out in (not_always, [*not_always, *self._resting]):
            trained = [p for p in self._net.parameters() if p.requires_grad and all(p is not each for each in left_out)]
            probes.append(next((parameter for parameter in trained if parameter.dim() == 1), trained[0]))
        return probes
