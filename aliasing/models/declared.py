"""What a network's modules say about its input: the number of channels, and the size that it was built for."""

from typing import Any

from torch import nn

from aliasing.fitting import Size

# The attributes in which timm's and torchvision's transformers keep the size that they were built for.
_SIZES = ("img_size", "image_size")


def built_for(module: nn.Module) -> Size | None:
    """The height and width for which a network was built, if it or one of its parts records them.

    Examples
    --------
    >>> import timm
    >>> built_for(timm.create_model("vit_tiny_patch16_224", img_size=96))
    (96, 96)
    """
    for inside in module.modules():
        for attribute in _SIZES:
            size: Any = getattr(inside, attribute, None)
            if isinstance(size, int) and not isinstance(size, bool):
                return size, size
            if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size):
                return size[0], size[1]
    return None


def first_convolution(module: nn.Module) -> nn.Conv1d | nn.Conv2d | nn.Conv3d | None:
    """The first convolution in the order of a network's modules; None if there is none.

    Examples
    --------
    >>> first_convolution(nn.Sequential(nn.ReLU(), nn.Conv1d(1, 8, 80, 4)))
    Conv1d(1, 8, kernel_size=(80,), stride=(4,))
    """
    return next((inside for inside in module.modules() if isinstance(inside, nn.Conv1d | nn.Conv2d | nn.Conv3d)), None)


def channels_of(module: nn.Module) -> int:
    """The number of input channels of the first convolution; three if there is none.

    Examples
    --------
    >>> channels_of(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)))
    1
    """
    first = next((inside for inside in module.modules() if isinstance(inside, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels
