r"""The sites where a network downsamples.

A site is a call whose output has fewer samples than its input: a convolution or a pooling of stride :math:`s > 1`, a
slice ``x[:, :, ::s, ::s]``. Keeping every *s*-th value of a map folds everything above the new Nyquist frequency
:math:`1/(2s)` onto what is below. Sites are found from one run of the network on a probe, however it is written (see
`aliasing.sites.trace`), and not from the classes of its modules.

The list includes downsampling that loses nothing (space to depth keeps every phase) or keeps no position (global
pooling), and upsampling; only sites that subsample can be treated.
"""

from aliasing.sites.find import Site, Sites, find_sites, table
from aliasing.sites.status import Status

__all__ = ["Site", "Sites", "Status", "find_sites", "table"]
