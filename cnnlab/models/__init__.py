"""The nets, one file a family; `registry` lists them, `options` types them, `table` counts them.

Free of torch until a net is built.
"""

from cnnlab.models.registry import ARCHITECTURES, Architecture, build, find

__all__ = ["ARCHITECTURES", "Architecture", "build", "find"]
