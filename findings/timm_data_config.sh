#!/usr/bin/env bash
# timm's data configuration of a network that was built for other inputs.
#
# timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Guess: resolve_model_data_config tells how to prepare photographs for the very network that it is given.
# Behaviour: it tells how to prepare them for the published weights. What create_model was told beside the name, img_size
# and in_chans, changes the network and not its configuration: a transform made from it gives 224 pixels and three
# channels, which the network then refuses.
# Output seen:
#   img_size=96: configured for (3, 224, 224), built for (96, 96)
#   in_chans=1: configured for (3, 224, 224), built for 1 channel
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$folder"
venv/bin/python - <<'PY'
import timm

small = timm.create_model("vit_tiny_patch16_224", img_size=96)
grey = timm.create_model("resnet18", in_chans=1)
sizes = [timm.data.resolve_model_data_config(network)["input_size"] for network in (small, grey)]
print(f"img_size=96: configured for {sizes[0]}, built for {small.patch_embed.img_size}")
print(f"in_chans=1: configured for {sizes[1]}, built for {grey.conv1.in_channels} channel")
assert sizes == [(3, 224, 224)] * 2, "the behaviour has changed"
assert (small.patch_embed.img_size, grey.conv1.in_channels) == ((96, 96), 1), "the behaviour has changed"
PY
