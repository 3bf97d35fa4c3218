"""The nets, one file a family. Free of torch until a net is built.

| room | what it does |
|---|---|
| `registry` | the architectures there are |
| `options` | their options, typed |
| `mlp`, `lenet`, `cnn`, `resnet`, `fast` | a family each; `resnet` has `plain` too |
| `seq`, `seq_layers` | the recipe's own list of layers; what they may say |
| `vision` | torchvision's nets |
| `user`, `class_names` | a user's own `nn.Module`; what was meant by a file without a class |
| `layers` | what all families are made of |
| `convolutions` | 3×3 convolutions with fewer products |
| `whitening` | the frozen first layer of `fast` |
| `table` | the layer table: shapes, receptive fields, weights, products |
| `receptive_field`, `products` | what a function's outputs see of the image; how often it multiplies |
"""

from cnnlab.models.registry import ARCHITECTURES, Architecture, build, find

__all__ = ["ARCHITECTURES", "Architecture", "build", "find"]
