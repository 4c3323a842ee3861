"""Registries of the package's kinds by name: operators, sources, outputs, inputs, resamplers and protocols.

Each kind is one file; nothing else in the package knows it by name. Another package adds one through an entry point of
the registry's group, a script with `Registry.add`. Loading this module loads none of them, so ``--help`` and shell
completion can list the names.
"""

from typing import TYPE_CHECKING, Any

from aliasing.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aliasing.downsample.operator import Operator
    from aliasing.images import ImageSource
    from aliasing.models.source import Source
    from aliasing.outputs.base import Output
    from aliasing.protocols import ViewProtocol
    from aliasing.resamplers import Resampler

__all__ = ["DEFAULT_OPERATOR", "INPUTS", "IN_MEMORY", "OPERATORS", "OUTPUTS", "PROTOCOLS", "RESAMPLERS", "SOURCES"]

OPERATORS: Registry[type["Operator"]] = Registry(
    "operator",
    "aliasing.operators",
    {
        "blur": "aliasing.downsample.blur:Blur",
        "flc": "aliasing.downsample.fourier:FourierPool",
        "aps": "aliasing.downsample.polyphase:Polyphase",
        "asap": "aliasing.downsample.asap:AsapPool",
        "ideal": "aliasing.downsample.rolloff:RolloffPool",
        "kaiser": "aliasing.downsample.designed:KaiserPool",
        "wavelet": "aliasing.downsample.designed:WaveletPool",
        "lps": "aliasing.downsample.learnable:LearnablePolyphasePool",
        "adaptive": "aliasing.downsample.adaptive:AdaptivePool",
        "spectral": "aliasing.downsample.spectral:SpectralPool",
        "tips": "aliasing.downsample.tips:TipsPool",
        "tips-anchored": "aliasing.downsample.tips:AnchoredTipsPool",
    },
)
DEFAULT_OPERATOR = "blur"
"""The operator of a specification that names none, such as ``antialiased:binomial4:resnet50``."""

# In the order in which networks are listed and bare names looked up.
SOURCES: Registry["Source"] = Registry(
    "source of networks",
    "aliasing.sources",
    {
        "pypi": "aliasing.models.from_pypi:SOURCE",
        "torchvision": "aliasing.models.from_torchvision:SOURCE",
        "timm": "aliasing.models.from_timm:SOURCE",
        "file": "aliasing.models.from_file:SOURCE",
        "module": "aliasing.models.from_module:SOURCE",
        "onnx": "aliasing.models.from_onnx:SOURCE",
        "openvino": "aliasing.models.from_openvino:SOURCE",
        "tflite": "aliasing.models.from_tflite:SOURCE",
        "antialiased": "aliasing.models.from_antialiased:SOURCE",
    },
)

OUTPUTS: Registry[type["Output"]] = Registry(
    "output",
    "aliasing.outputs",
    {
        "probabilities": "aliasing.outputs.probabilities:Probabilities",
        "embedding": "aliasing.outputs.embedding:Embedding",
        "masks": "aliasing.outputs.masks:Masks",
        "boxes": "aliasing.outputs.boxes:Boxes",
        "instances": "aliasing.outputs.instances:Instances",
        "keypoints": "aliasing.outputs.keypoints:Keypoints",
        "images": "aliasing.outputs.images:Images",
        "values": "aliasing.outputs.values:Values",
    },
)

# A reader takes the argument of `aliasing.images.open_images`, and the folder or regular file that it names, or None.
# It returns an ImageSource, or None if it cannot read that. They are tried in this order, and other packages' last.
INPUTS: Registry["Callable[[Any, Path | None], ImageSource | None]"] = Registry(
    "kind of input",
    "aliasing.inputs",
    {
        "sample": "aliasing.images.sample:read",
        "list": "aliasing.images.lists:read",
        "braces": "aliasing.images.braces:read",
        "hf": "aliasing.images.hugging_face:read",
        "url": "aliasing.images.remote:read",
        "mnist-cifar": "aliasing.images.datasets:read",
        "parquet": "aliasing.images.tables:read",
        "zip": "aliasing.images.archives:read_zip",
        "tar": "aliasing.images.archives:read_tar",
        "tensors": "aliasing.images.tensors:read",
    },
)
IN_MEMORY = frozenset({"tensors"})
"""The inputs that are objects of Python and not paths."""

# By the file of their library, which need not be installed. The first five are the oldest.
OF_LIBRARIES = (
    ("pillow", "pil"),
    ("pytorch", "torch torch-aliased"),
    ("opencv", "opencv-linear opencv-area"),
    ("pillow", "pil-reduce pil-thumbnail pil-draft"),
    ("pytorch", "torch-area torch-corners torch-linear-1d torch-trilinear torch-area-3d"),
    ("opencv", "opencv-nearest opencv-nearest-exact opencv-linear-exact opencv-cubic opencv-lanczos4"),
    ("opencv", "opencv-pyrdown opencv-blob"),
    ("torchvision", "torchvision torchvision-aliased torchvision-pil torchvision-roi-align"),
    ("scipy", "scipy-zoom scipy-zoom-1 scipy-zoom-grid scipy-zoom-3d"),
    ("scipy", "scipy-decimate scipy-decimate-fir scipy-resample scipy-resample-poly"),
    ("numpy", "numpy-slice numpy-mean numpy-slice-1d"),
    ("skimage", "skimage-resize skimage-resize-cubic skimage-resize-aliased skimage-local-mean skimage-pyramid"),
    ("pandas", "pandas-mean pandas-first"),
    ("polars", "polars-mean"),
    ("kornia", "kornia kornia-antialias kornia-pyrdown"),
    ("kornia_rs", "kornia-rs-bilinear kornia-rs-bicubic kornia-rs-lanczos"),
    ("albumentations", "albumentations albumentations-area"),
    ("onnxruntime", "onnxruntime-linear onnxruntime-linear-antialias onnxruntime-cubic onnxruntime-cubic-antialias"),
    ("av", "av-fast-bilinear av-bilinear av-bicubic av-area av-lanczos"),
    ("openvino", "openvino-linear-onnx openvino-cubic openvino-bilinear-pillow openvino-bicubic-pillow"),
    ("ncnn", "ncnn-pixels ncnn-nearest ncnn-bilinear ncnn-bicubic"),
    ("litert", "litert"),
    ("mnn", "mnn-linear mnn-area mnn-cubic"),
    ("browser", "canvas-low canvas-medium canvas-high"),
    ("skia", "skia-linear skia-mipmaps skia-mitchell"),
    ("rasterio", "rasterio-nearest rasterio-bilinear rasterio-cubic rasterio-lanczos rasterio-average rasterio-gauss"),
    ("ome_zarr", "ome-zarr-resize ome-zarr-local-mean ome-zarr-nearest"),
    ("xarray", "xarray-coarsen xarray-interp"),
    ("dask", "dask-slice dask-coarsen"),
    ("tsdownsample", "lttb min-max"),
    ("resize_right", "resize-right-linear resize-right-cubic resize-right-lanczos3"),
    ("simpleitk", "simpleitk simpleitk-3d simpleitk-shrink simpleitk-binshrink"),
    ("pyvips", "pyvips-resize pyvips-resize-linear pyvips-shrink pyvips-thumbnail"),
    ("wand", "wand-resize wand-scale wand-sample wand-thumbnail"),
    ("jax", "jax-linear jax-linear-aliased jax-cubic jax-lanczos3"),
    ("tensorflow", "tensorflow tensorflow-antialias tensorflow-area tensorflow-cubic"),
    ("keras", "keras-bilinear keras-bilinear-antialias keras-bicubic keras-bicubic-antialias"),
    ("monai", "monai-resize monai-resize-trilinear monai-spacing monai-spacing-extent"),
    ("torchio", "torchio-resize torchio-resample"),
    ("nilearn", "nilearn"),
    ("nibabel", "nibabel"),
    ("torchaudio", "torchaudio torchaudio-kaiser"),
    ("julius", "julius"),
    ("soxr", "soxr-qq soxr-lq soxr-hq soxr-vhq"),
    ("samplerate", "samplerate-linear samplerate-zero-order-hold samplerate-sinc-fastest samplerate-sinc-best"),
    ("librosa", "librosa librosa-polyphase librosa-fft"),
)
RESAMPLERS: Registry["Resampler"] = Registry(
    "resampler",
    "aliasing.resamplers",
    {name: f"aliasing.resamplers.{file}:RESAMPLERS" for file, names in OF_LIBRARIES for name in names.split()},
)

PROTOCOLS: Registry["type[ViewProtocol]"] = Registry(
    "protocol",
    "aliasing.protocols",
    {
        "crop": "aliasing.protocols.windowed:Crop",
        "crop-random": "aliasing.protocols.windowed:CropRandom",
        "black": "aliasing.protocols.embedded:Black",
        "mean": "aliasing.protocols.embedded:Mean",
        "inpaint": "aliasing.protocols.embedded:Inpaint",
        "consistency": "aliasing.protocols.windowed:Consistency",
        "consistency-cifar": "aliasing.protocols.windowed:ConsistencyCifar",
        "pad": "aliasing.protocols.windowed:Pad",
        "grid": "aliasing.protocols.windowed:Grid",
        "horizontal": "aliasing.protocols.windowed:Horizontal",
        "vertical": "aliasing.protocols.windowed:Vertical",
        "circular": "aliasing.protocols.transformed:Circular",
        "subpixel": "aliasing.protocols.transformed:Subpixel",
        "samples": "aliasing.protocols.sampled:Samples",
        "subsample": "aliasing.protocols.sampled:Subsample",
        "drag": "aliasing.protocols.transformed:Drag",
        "scale": "aliasing.protocols.transformed:Scale",
        "rotate": "aliasing.protocols.transformed:Rotate",
        "frames": "aliasing.protocols.transformed:Frames",
        "resamplers": "aliasing.protocols.resampled:Resamplers",
    },
)
