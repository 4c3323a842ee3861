"""Checkpoints of the published anti-aliased networks (Zhang 2019), for the networks that `antialias` makes.

There the blur is a layer of its own inside the network's ``Sequential``s, with its taps as a buffer ``filt``, so that
the layers behind it are counted on. Apart from these, the two networks have the same tensors in the same order.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from aliasing.downsample.operator import without_operators
from aliasing.errors import InputError

__all__ = ["from_published"]


def from_published(state_dict: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of a published checkpoint to the names of torchvision's network.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Of the published implementation.
    module : nn.Module
        torchvision's network, converted or not: its keys are the same.

    Returns
    -------
    dict of Tensor
        For ``module.load_state_dict``.

    Raises
    ------
    InputError
        If the two networks do not have the same tensors.
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
            raise InputError(f"{key} of {tuple(value.shape)} stands where {name} of {tuple(tensor.shape)} is expected")
        renamed[name] = value
    return renamed
