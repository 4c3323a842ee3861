#!/usr/bin/env bash
# The configuration that a timm network carries, and the one that timm publishes under its name.
#
# timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Guess: a network made by name carries the configuration that get_pretrained_cfg gives for that name.
# Behaviour: vitamin_xlarge_336 is built for 336 pixels and published for 336, and carries the configuration of
# vitamin_xlarge_256: its input size, its weights' repository. A transform made from the network is of 256 pixels. Its
# siblings of 384 pixels, and the other sizes of vitamin, carry their own.
# Output seen:
#   vitamin_xlarge_336: published (3, 336, 336) ViTamin-XL-336px, carried (3, 256, 256) ViTamin-XL-256px
#   vitamin_xlarge_384: published (3, 384, 384) ViTamin-XL-384px, carried (3, 384, 384) ViTamin-XL-384px
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$folder"
venv/bin/python - <<'PY'
import timm
import torch

found = {}
for name in ("vitamin_xlarge_336", "vitamin_xlarge_384"):
    with torch.device("meta"):
        carried = timm.create_model(name, pretrained=False).pretrained_cfg
    published = timm.get_pretrained_cfg(name)
    found[name] = published.input_size, carried["input_size"]
    repositories = [hub_id.rpartition("/")[2] for hub_id in (published.hf_hub_id, carried["hf_hub_id"])]
    print(f"{name}: published {found[name][0]} {repositories[0]}, carried {found[name][1]} {repositories[1]}")
wanted = {
    "vitamin_xlarge_336": ((3, 336, 336), (3, 256, 256)),
    "vitamin_xlarge_384": ((3, 384, 384), (3, 384, 384)),
}
assert found == wanted, "the behaviour has changed"
PY
