"""Loading checkpoints of the published anti-aliased networks (Zhang 2019) into networks that `antialias` makes.

In those networks the blur is a layer inside the ``Sequential``s, with its taps as a buffer ``filt``, which shifts the
numbers of the layers after it. Otherwise the two networks have the same tensors in the same order.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from aliasing.downsample.operator import without_operators
from aliasing.errors import InputError

__all__ = ["from_published"]


def from_published(state_dict: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of a published checkpoint for ``module.load_state_dict``.

    ``module`` is torchvision's network, converted or not. Raises InputError if the two do not have the same tensors.
    """
    theirs = {key: value for key, value in state_dict.items() if not key.endswith(".filt")}
    ours = without_operators(module.state_dict())
    counted = [key for key in ours if not key.endswith("num_batches_tracked")]
    if len(counted) == len(theirs):  # checkpoints of torch before 0.4.1 lack the counts
        ours = {key: ours[key] for key in counted}
    if len(ours) != len(theirs):
        raise InputError(f"the checkpoint has {len(theirs)} tensors, and {type(module).__name__} {len(ours)}")
    renamed: dict[str, Tensor] = {}
    for (name, tensor), (key, value) in zip(ours.items(), theirs.items(), strict=True):
        if name.rpartition(".")[2] != key.rpartition(".")[2] or tensor.shape != value.shape:
            raise InputError(f"expected {name} of {tuple(tensor.shape)}; got {key} of {tuple(value.shape)}")
        renamed[name] = value
    return renamed
