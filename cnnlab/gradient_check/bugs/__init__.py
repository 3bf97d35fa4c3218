"""Known mistakes, by name: planted into a layer, each must be caught; a user's wrong layer is compared with them.

A bug gives the gradients that it changes, from the layer, its input and δ; the others stay right.

| room | what goes wrong there |
|---|---|
| `bug` | nothing: what a known mistake is |
| `weights` | Linear and Conv2d |
| `pooling` | pooling |
| `activations` | activations |
| `normalization` | BatchNorm1d and BatchNorm2d |
| `nets` | containers, losses, Dropout and Flatten |
"""

from cnnlab.gradient_check.bugs.activations import ACTIVATIONS
from cnnlab.gradient_check.bugs.bug import Bug, Gradients, Planted, Wrong
from cnnlab.gradient_check.bugs.nets import NETS
from cnnlab.gradient_check.bugs.normalization import NORMALIZATION
from cnnlab.gradient_check.bugs.pooling import AVG_POOL, MAX_POOL
from cnnlab.gradient_check.bugs.weights import CONV, LINEAR

BUGS: dict[str, Bug] = {
    bug.name: bug for bug in (*LINEAR, *CONV, *MAX_POOL, *AVG_POOL, *ACTIVATIONS, *NORMALIZATION, *NETS)
}
"""Every known mistake by its name."""

__all__ = ["BUGS", "Bug", "Gradients", "Planted", "Wrong"]
