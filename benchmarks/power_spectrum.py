"""Power spectra of a batch of feature maps, as a multiple of the bare transform.

python benchmarks/power_spectrum.py
"""

import torch
from blur_pool import cpu, milliseconds

from aliasing import spectrum
from aliasing.memory import keep_freed_memory


def main() -> None:
    """Print the times and their ratio."""
    keep_freed_memory()
    x = torch.randn(8, 256, 56, 56)
    bare = milliseconds(lambda: torch.fft.rfft2(x), 1.5)
    power = milliseconds(lambda: spectrum.power(x, onesided=True), 1.5)
    whole = milliseconds(lambda: spectrum.power(x), 1.5)
    print(f"8×256×56×56, float32, {cpu()}")
    print(f"torch.fft.rfft2 {bare:.1f} ms")
    print(
        f"power, one-sided {power:.1f} ms: {power / bare:.2f} times; two-sided {whole:.1f} ms: {whole / bare:.2f} times"
    )


if __name__ == "__main__":
    main()
