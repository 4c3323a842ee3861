"""Fine-tuning learns, and a run that was stopped ends as it would have."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.surgery import antialias, save
from aliasing.surgery.finetune import PRECISIONS, Recipe, _augment, finetune

IMAGES = [
    (
        np.full((8, 8, 3), 40 + 170 * (i % 2), np.uint8)
        + np.random.default_rng(i).integers(0, 40, (8, 8, 3), np.uint8),
        i % 2,
    )
    for i in range(32)
]


def classifier() -> al.Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    module.extend((nn.Flatten(), nn.Dropout(0.1), nn.Linear(4, 2)))
    half = (0.5, 0.5, 0.5)
    plain = al.Classifier(module, "tiny", 8, half, half, "bilinear", resize_size=8, crop_share=1.0)
    return antialias(plain, scheme="all", taps="binomial3")


RECIPE = Recipe(epochs=4, learning_rate=0.1, batch_size=8)


def accuracy(model: al.Classifier) -> float:
    views = np.stack([model.preprocess(pixels) for pixels, _ in IMAGES])
    labels = torch.tensor([label for _, label in IMAGES])
    with torch.no_grad():
        return float((model.module(model.normalize(views)).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_learns_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    model, recipe = classifier(), replace(RECIPE, precision=precision)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    whole = finetune(model, IMAGES, tmp_path / "whole", recipe)
    assert accuracy(whole) == 1
    assert not whole.module.training
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())

    from aliasing.surgery import finetune as module

    epoch = module._epoch

    def stopping(*arguments: object) -> dict[str, float]:
        if arguments[-1] == 2:
            raise KeyboardInterrupt
        return epoch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        finetune(model, IMAGES, tmp_path / "stopped", recipe)
    monkeypatch.undo()
    said: list[str] = []
    resumed = finetune(model, IMAGES, str(tmp_path / "stopped"), recipe, tell=said.append)
    assert [line.split(":")[0] for line in said] == ["epoch 3 of 4", "epoch 4 of 4"]
    histories = [json.loads((tmp_path / run / "history.json").read_text())["epochs"] for run in ("whole", "stopped")]
    assert histories[0] == histories[1]
    assert [set(epoch) for epoch in histories[0]] == [{"loss", "accuracy"}] * 4
    assert histories[0][-1]["accuracy"] > histories[0][0]["accuracy"]
    for key, value in whole.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[key], value)
    save(resumed, str(tmp_path / "tuned.safetensors"))


def test_it_is_what_its_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aliasing.surgery import finetune as module

    monkeypatch.setattr(module, "_augment", lambda pixels, model, random: pixels.astype(np.float32))
    recipe = Recipe(epochs=3, learning_rate=0.2, batch_size=8, momentum=0.8, weight_decay=0.05, seed=3)
    images, model = IMAGES[:20], classifier()
    found = finetune(model, IMAGES, tmp_path, recipe, limit=20)

    expected = classifier().module.train().to(memory_format=torch.channels_last)
    decaying = {key: 0.05 * (value.ndim > 1) for key, value in expected.named_parameters()}
    speed = {key: torch.zeros_like(value) for key, value in expected.named_parameters()}
    for epoch in range(3):
        torch.manual_seed(3 + 1_000_003 * epoch)
        order = np.random.default_rng((3, epoch)).permutation(20)
        for batch in range(2):  # the four left over are no batch
            chosen = sorted(order[8 * batch : 8 * batch + 8])
            views = model.normalize(np.stack([images[i][0] for i in chosen]).astype(np.float32))
            expected.zero_grad()
            nn.functional.cross_entropy(expected(views), torch.tensor([images[i][1] for i in chosen])).backward()
            rate = 0.2 * math.cos(math.pi / 2 * (2 * epoch + batch) / 6) ** 2
            for key, value in expected.named_parameters():
                gradient = value.grad + decaying[key] * value.detach()
                speed[key] = 0.8 * speed[key] + gradient
                value.data -= rate * (gradient + 0.8 * speed[key])  # Nesterov, as torch writes it
    for key, value in expected.state_dict().items():
        # Six steps in float32, in another order of sums: some 10 roundings of 6e-8, of numbers of order 1.
        assert torch.allclose(found.module.state_dict()[key], value, atol=1e-5), key


def test_a_loss_that_is_no_number_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a lower learning rate may help"):
        finetune(classifier(), IMAGES, tmp_path, replace(RECIPE, learning_rate=1e30))


def test_bfloat16_computes_in_it_and_leaves_a_float32_network(tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()
    model = classifier()
    model.module[0].register_forward_hook(lambda *arguments: seen.add(arguments[2].dtype))
    tuned = {
        precision: finetune(model, IMAGES, tmp_path / precision, replace(RECIPE, precision=precision))
        for precision in PRECISIONS
    }
    assert seen == {torch.float32, torch.bfloat16}
    exact, rough = (tuned[precision].module.state_dict() for precision in PRECISIONS)
    for key, value in exact.items():
        assert rough[key].dtype == value.dtype
        if value.is_floating_point():  # the same training to some 16 steps' rounding of 2^-8 each
            assert torch.allclose(rough[key], value, rtol=0.1, atol=0.1)
            assert key.endswith("num_batches_tracked") or not torch.equal(rough[key], value)


def test_windows_hold_the_image_and_the_mean_colour_around_it() -> None:
    model = classifier()
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(1, 8, 8, 3).repeat(64, 0)
    views = _augment(pixels, model, np.random.default_rng(0))
    assert views.shape == (64, 8, 8, 3)
    whole = [np.array_equal(view, pixels[0]) or np.array_equal(view, pixels[0][:, ::-1]) for view in views]
    assert 0 < sum(whole) < 64
    inside = [np.isin(view, pixels[0]) | np.isclose(view, model.mean_colour) for view in views]
    assert np.all(inside)


def test_a_folder_belongs_to_one_run_and_images_need_labels(tmp_path: Path) -> None:
    finetune(classifier(), IMAGES[:8], tmp_path, Recipe(epochs=1, batch_size=4))
    with pytest.raises(UsageError, match="another run"):
        finetune(classifier(), IMAGES[:8], tmp_path, Recipe(epochs=2, batch_size=4))
    other = classifier()
    with torch.no_grad():
        other.module[0].weight += 1
    with pytest.raises(UsageError, match="another run"):
        finetune(other, IMAGES[:8], tmp_path, Recipe(epochs=1, batch_size=4))
    with pytest.raises(InputError, match="no labelled images"):
        finetune(classifier(), [pixels for pixels, _ in IMAGES], tmp_path / "other", RECIPE)
    with pytest.raises(UsageError, match="expected at least 1"):
        finetune(classifier(), IMAGES, tmp_path / "none", Recipe(epochs=0))
    with pytest.raises(UsageError, match="precision 'half'; expected float32 or bfloat16"):
        finetune(classifier(), IMAGES, tmp_path / "none", Recipe(precision="half"))


def test_wrong_images_leave_the_folder_to_the_next_run(tmp_path: Path) -> None:
    wrong = {
        "no labelled images": [pixels for pixels, _ in IMAGES[:8]],
        "labels from 0 to 7 .*; antialiased:binomial3,all:tiny has 2 classes, 0 to 1": [
            (pixels, number) for number, (pixels, _) in enumerate(IMAGES[:8])
        ],
    }
    for message, images in wrong.items():
        with pytest.raises(InputError, match=message):
            finetune(classifier(), images, tmp_path, Recipe(epochs=2, batch_size=4))
    assert list(tmp_path.iterdir()) == []
    finetune(classifier(), IMAGES[:8], tmp_path, Recipe(epochs=1, batch_size=4))
