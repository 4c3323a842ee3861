"""Networks of sounds, clips and volumes by other packages, where these are installed; `coverage` lists the same."""

import pytest

from experiments._peers import Peer
from experiments.coverage import PEERS, examine_peer

ALL = [(group, peer) for group, peers in PEERS.items() for peer in peers]


@pytest.mark.slow
@pytest.mark.parametrize(("group", "peer"), ALL, ids=[f"{peer.package} {peer.name}" for _, peer in ALL])
def test_every_site_is_treated_or_named_and_comes_back(group: str, peer: Peer) -> None:
    if peer.version is None:
        pytest.skip(f"no {peer.package}")
    try:
        row = examine_peer(group, peer)
    except ImportError as error:
        pytest.skip(f"{peer.package}: {error}")
    if peer.package == "silero-vad":
        assert "scripted" in row["error"]
        return
    assert "error" not in row
    assert all(reason.split(": ", 1)[1] for reason in row["out_of_reach"])
    for scheme in ("all", "zhang2019") if "all" in row else ():
        assert row[scheme]["shape_kept"]
        assert row[scheme]["keys_kept"]
    if "all" in row:
        assert row["all"]["treated"] == row["status"]["subsamples"]
        # As in test_surgery_dimensions.py: float64 sums in another order along some twenty layers.
        assert row["one_tap"] < 1e-10
        assert row["restored"]
