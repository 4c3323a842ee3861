"""Weights from the network: caches first, deadlines kept, and nothing half downloaded."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import timm.data
from torch import nn

import aliasing as al
from aliasing.errors import InputError
from aliasing.models import available_models, downloads
from tests.model_files import hub_cache, same_weights, saved

pytestmark = pytest.mark.usefixtures("no_cache")


REMOTE = {
    "resnet50": (
        "file:PATH@torchvision:resnet50.IMAGENET1K_V1",
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    ),
    "timm:resnet50.a1_in1k": (
        "file:PATH@timm:resnet50.a1_in1k",
        "https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors",
    ),
}


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []
        threading.Thread(target=lambda: accepted.append(server.accept()), daemon=True).start()
        yield server.getsockname()[1]


def refused(name: str) -> str:
    with pytest.raises(InputError) as caught:
        al.load_model(name)
    message = str(caught.value)
    assert "\n" not in message
    for part in REMOTE[name]:
        assert part in message
    return message


@pytest.mark.parametrize("name", REMOTE)
def test_a_host_that_cannot_be_reached(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")  # closed again
    assert "does not answer" in refused(name)


@pytest.mark.parametrize("name", REMOTE)
def test_a_host_that_accepts_and_never_answers(name: str, silent_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.5)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent_server}")
    assert "does not answer" in refused(name)


@pytest.mark.parametrize("name", REMOTE)
def test_a_name_look_up_that_never_returns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()

    def look_up(*arguments: Any, **options: Any) -> Any:
        forever.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "nothing within 0.5 s" in refused(name)
    forever.set()


def test_the_deadline_is_within_the_promised_15_seconds() -> None:
    assert downloads.ANSWER_SECONDS < 15


def test_hugging_faces_offline_mode_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("asked the network"))
    assert "HF_HUB_OFFLINE is set" in refused("timm:resnet50.a1_in1k")


def test_torch_hubs_cache_is_used_before_the_network(squeezenet: nn.Module, tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    saved(squeezenet.state_dict(), folder / "squeezenet1_0-b66bff10.pth")
    classifier = al.load_model("squeezenet1_0")
    assert same_weights(classifier.module, squeezenet)
    assert classifier.name == "torchvision:squeezenet1_0.IMAGENET1K_V1"
    assert classifier.weights["version"] == "IMAGENET1K_V1"
    assert classifier.labels is not None
    assert classifier.labels[0] == "tench"
    assert [model.name for model in available_models("torchvision:*") if model.installed] == [classifier.name]


def test_hugging_faces_cache_is_used_before_the_network(tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050", pretrained=False)
    hub_cache(tmp_path / "hub", "mobilenetv3_small_050.lamb_in1k", network)
    classifier = al.load_model("timm:mobilenetv3_small_050")
    assert same_weights(classifier.module, network)
    assert classifier.name == "timm:mobilenetv3_small_050.lamb_in1k"
    assert classifier.weights["version"] == "lamb_in1k"
    assert [model.name for model in available_models("timm:*") if model.installed] == [classifier.name]


class Host(http.server.BaseHTTPRequestHandler):
    """Serves ten bytes: whole, with a length that promises more, or not at all."""

    def log_message(self, *arguments: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.send_response(404 if "absent" in self.path else 200)
        self.send_header("Content-Length", "99" if "promises" in self.path else "10")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"0123456789")


@pytest.fixture
def host() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_whole_and_checked(host: str, tmp_path: Path) -> None:
    path = downloads.fetch(f"{host}/whole-84d89877.pth", "x:y")  # SHA-256 of the ten digits begins 84d89877
    assert path == tmp_path / "torch" / "hub" / "checkpoints" / "whole-84d89877.pth"
    assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("promises.pth", "10 of 99 bytes"),
        ("whole-0123abcd.pth", "its name says 0123abcd"),
        ("absent.pth", "answers 404"),
    ],
)
def test_a_bad_download_leaves_nothing_in_the_cache(host: str, file: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        downloads.fetch(f"{host}/{file}", "torchvision:x")
    assert message in str(caught.value)
    assert f"fetch {host}/{file} elsewhere and give it as file:PATH@torchvision:x" in str(caught.value)
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]
