"""Networks of sounds, clips and volumes by other packages, for `coverage`: how each is built, and the shape it takes.

Their weights are random: only their construction is examined. Networks whose package is not installed are left out.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import import_module as at
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Peer(NamedTuple):
    """A network of another package.

    Attributes
    ----------
    package : the distribution, by its name on PyPI.
    name : of the network.
    make : builds it.
    shape : of the example.
    """

    package: str
    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def build(self) -> nn.Module:
        """The network in evaluation mode, with the same random weights every time."""
        torch.manual_seed(0)
        return self.make().eval()

    def example(self) -> Tensor:
        """White noise, which holds all frequencies."""
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(1))

    @property
    def version(self) -> str | None:
        """Of the package; None if it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def installed(peers: tuple[Peer, ...]) -> Iterator[Peer]:
    """The networks whose packages are installed."""
    return (peer for peer in peers if peer.version is not None)


def _eeg(name: str, channels: int = 22, samples: int = 1000) -> Peer:
    def make() -> Any:
        return getattr(at("braindecode.models"), name)(n_chans=channels, n_outputs=4, n_times=samples, sfreq=128)

    return Peer("braindecode", name, make, (1, channels, samples))


def _transformers(name: str, model: str, config: str, shape: tuple[int, ...], part: str = "", **options: Any) -> Peer:
    def make() -> Any:
        library = at("transformers")
        network = getattr(library, model)(getattr(library, config)(**options))
        return network.get_submodule(part)

    return Peer("transformers", name, make, shape)


def _clips(name: str, size: tuple[int, ...]) -> Peer:
    return Peer("torchvision", name, lambda: at("torchvision.models").get_model(name, weights=None), (1, 3, *size))


def _monai(name: str, shape: tuple[int, ...], *arguments: Any, **options: Any) -> Peer:
    return Peer("monai", name, lambda: getattr(at("monai.networks.nets"), name)(*arguments, **options), (1, 1, *shape))


def _nn_unet(name: str, blocks: str) -> Peer:
    """As nnU-Net plans it for voxels that are not cubes."""
    options = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU, "num_classes": 2}
    shapes = {"kernel_sizes": [(1, 3, 3), 3, 3, 3], "strides": [1, (1, 2, 2), 2, 2], "n_conv_per_stage_decoder": 1}
    return Peer(
        "dynamic-network-architectures",
        name,
        lambda: getattr(at("dynamic_network_architectures.architectures.unet"), name)(
            1, 4, [8, 16, 32, 64], **{blocks: 2}, **options, **shapes
        ),
        (1, 1, 12, 32, 40),
    )


SOUNDS = (
    Peer("torchcrepe", "CREPE tiny", lambda: at("torchcrepe.model").Crepe("tiny"), (2, 1024)),
    Peer("silero-vad", "Silero VAD", lambda: at("silero_vad").load_silero_vad(), (1, 512)),
    Peer("torchaudio", "wav2vec 2.0 base", lambda: at("torchaudio.models").wav2vec2_base(), (1, 4000)),
    Peer("torchaudio", "HuBERT base", lambda: at("torchaudio.models").hubert_base(), (1, 4000)),
    Peer("torchaudio", "Conv-TasNet", lambda: at("torchaudio.models").conv_tasnet_base(), (1, 1, 2000)),
    Peer("torchaudio", "Wav2Letter", lambda: at("torchaudio.models").Wav2Letter(input_type="waveform"), (1, 1, 4000)),
    Peer("torchaudio", "SQUIM objective", lambda: at("torchaudio.models").squim_objective_base(), (1, 8000)),
    Peer("encodec", "EnCodec, encoder", lambda: at("encodec.modules").SEANetEncoder(), (1, 1, 4800)),
    _transformers("EnCodec, encoder", "EncodecModel", "EncodecConfig", (1, 1, 4799), "encoder"),
    Peer("descript-audio-codec", "DAC, encoder", lambda: at("dac.model.dac").Encoder(), (1, 1, 4096)),
    _transformers("DAC, encoder", "DacModel", "DacConfig", (1, 1, 4096), "encoder"),
    Peer("snac", "SNAC", lambda: at("snac").SNAC(attn_window_size=None, noise=False), (1, 1, 7056)),
    Peer("demucs", "Demucs", lambda: at("demucs.demucs").Demucs(["a", "b"], channels=16), (1, 2, 4096)),
    Peer("demucs", "HDemucs", lambda: at("demucs.hdemucs").HDemucs(["a", "b"], channels=16), (1, 2, 16384)),
    Peer(
        "demucs",
        "HTDemucs",
        lambda: at("demucs.htdemucs").HTDemucs(["a", "b"], channels=16, segment=Fraction(1, 2)),
        (1, 2, 22050),
    ),
    Peer("bigvgan", "BigVGAN, activation", lambda: at("bigvgan").TorchActivation1d(nn.SiLU()), (1, 8, 256)),
    _transformers("wav2vec 2.0", "Wav2Vec2Model", "Wav2Vec2Config", (1, 4000), num_hidden_layers=1),
    _transformers(
        "Whisper, encoder",
        "WhisperModel",
        "WhisperConfig",
        (1, 80, 200),
        "encoder",
        d_model=32,
        encoder_layers=1,
        max_source_positions=100,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
    ),
    _eeg("EEGNet"),
    _eeg("Deep4Net"),
    _eeg("ShallowFBCSPNet"),
    _eeg("USleep", 2, 3840),
    _eeg("BENDR", 20),
    Peer("tsai", "XResNet1d-18", lambda: at("tsai.models.XResNet1d").xresnet1d18(3, 5), (2, 3, 500)),
    Peer("tsai", "InceptionTime", lambda: at("tsai.models.InceptionTime").InceptionTime(3, 5), (2, 3, 500)),
    Peer("tsai", "XceptionTime", lambda: at("tsai.models.XceptionTime").XceptionTime(3, 5), (2, 3, 500)),
    Peer("pytorch-tcn", "TCN", lambda: at("pytorch_tcn").TCN(3, [8, 8, 8]), (2, 3, 500)),
    Peer("vocos", "Vocos, backbone", lambda: at("vocos.models").VocosBackbone(8, 16, 32, 2), (2, 8, 100)),
)

CLIPS = (
    *(_clips(name, (8, 32, 32)) for name in ("r3d_18", "mc3_18", "r2plus1d_18")),
    _clips("s3d", (16, 224, 224)),
    *(_clips(name, (16, 224, 224)) for name in ("mvit_v1_b", "mvit_v2_s")),
    *(_clips(name, (8, 64, 64)) for name in ("swin3d_t", "swin3d_s", "swin3d_b")),
    Peer(
        "pytorchvideo",
        "X3D",
        lambda: at("pytorchvideo.models.x3d").create_x3d(input_clip_length=4, input_crop_size=96),
        (1, 3, 4, 96, 96),
    ),
    Peer("pytorchvideo", "Slow R50", lambda: at("pytorchvideo.models.resnet").create_resnet(), (1, 3, 4, 224, 224)),
    Peer("pytorchvideo", "CSN R101", lambda: at("pytorchvideo.models.csn").create_csn(), (1, 3, 8, 224, 224)),
)

VOLUMES = (
    _monai("UNet", (16, 24, 32), 3, 1, 2, (8, 16, 32, 64), (2, 2, 2), num_res_units=2),
    _monai("SegResNet", (16, 24, 32), 3),
    _monai("DenseNet121", (32, 48, 32), 3, 1, 2),
    _monai("resnet18", (32, 48, 32), n_input_channels=1),
    _monai("SEResNet50", (32, 48, 32), spatial_dims=3, in_channels=1),
    _monai("VNet", (16, 32, 32)),
    _monai("DynUNet", (16, 24, 32), 3, 1, 2, [3, 3, 3], [1, (1, 2, 2), 2], [(1, 2, 2), 2]),
    _monai("BasicUNet", (16, 32, 32), 3, features=(8,) * 6),
    _monai("AttentionUnet", (16, 32, 32), 3, 1, 2, (8, 16, 32), (2, 2)),
    _monai("EfficientNetBN", (32, 48, 32), "efficientnet-b0", pretrained=False, spatial_dims=3, in_channels=1),
    _monai("SwinUNETR", (64, 64, 64), 1, 2, feature_size=12),
    _monai("UNETR", (32, 32, 32), 1, 2, (32, 32, 32), hidden_size=48, num_heads=4),
    _nn_unet("PlainConvUNet", "n_conv_per_stage"),
    _nn_unet("ResidualEncoderUNet", "n_blocks_per_stage"),
)

PEERS = (*SOUNDS, *CLIPS, *VOLUMES)
