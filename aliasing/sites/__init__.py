r"""Where does this network downsample?

A site is a call that keeps fewer samples than it is given: a convolution or a pooling of stride :math:`s > 1`, a slice
``x[:, :, ::s, ::s]``. Sampling every *s*-th value of a map folds all that is above the new Nyquist frequency
:math:`1/(2s)` onto what is below. Sites are found from one run of the network on a probe, whichever way it is written
(see `aliasing.sites.trace`), and not from the classes of its modules.

Downsampling that loses nothing (space to depth keeps every phase) or keeps no position (global pooling) is listed too,
and so is upsampling; only what subsamples is there to be treated.
"""

from aliasing.sites.find import Site, Sites, find_sites, table
from aliasing.sites.status import Status

__all__ = ["Site", "Sites", "Status", "find_sites", "table"]
