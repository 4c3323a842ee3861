"""The seven statuses of a site, and their old words."""

import warnings
from enum import StrEnum

# Until 1.1.
_OLD = {"keeps every sample": "space-to-depth", "keeps no position": "global", "out of reach": "unsupported"}


class Status(StrEnum):
    """What can be done at a site; a status is equal to its word.

    Attributes
    ----------
    SUBSAMPLES : "subsamples": it can be treated.
    ANTI_ALIASED : "anti-aliased": it has been treated.
    SPACE_TO_DEPTH : "space-to-depth": all phases move into the channels or into overlapping patches; none is lost.
    WINDOWED : "windowed": every sample stays, but only shifts by whole windows commute.
    GLOBAL : "global": no position is left, so nothing can alias.
    UPSAMPLING : "upsampling": the opposite; it can be treated too (``antialias(…, upsampling=True)``).
    UNSUPPORTED : "unsupported": it subsamples but cannot be treated, and the site's note says why.

    Examples
    --------
    >>> Status("global") == "global", Status.GLOBAL in ("global", "unsupported")
    (True, True)
    """

    SUBSAMPLES = "subsamples"
    ANTI_ALIASED = "anti-aliased"
    SPACE_TO_DEPTH = "space-to-depth"
    WINDOWED = "windowed"
    GLOBAL = "global"
    UPSAMPLING = "upsampling"
    UNSUPPORTED = "unsupported"

    @classmethod
    def read(cls, word: str) -> "Status":
        """The status of a word on disk, which may be an old one."""
        return cls(_OLD.get(str(word), word))

    @classmethod
    def _missing_(cls, value: object) -> "Status | None":
        return cls(_renamed(value)) if value in _OLD else None

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, _renamed(other) if isinstance(other, str) and other in _OLD else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        return repr(self.value)


def _renamed(word: object) -> str:
    new = _OLD[str(word)]
    warnings.warn(f"a site's status {str(word)!r} is {new!r} now", DeprecationWarning, stacklevel=3)
    return new
