#!/usr/bin/env bash
# PyTorch's ONNX exporters and a ceiling division of a dynamic size.
#
# torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0.
# Guess: -(-n // 2) is ⌈n / 2⌉ for the exported program as it is for Python, since torch.export keeps sizes symbolic.
# Behaviour: both exporters, the TorchScript one and the one on torch.export, write a division that cuts towards zero.
# So ⌈13 / 2⌉ = 7 becomes 6 when the program runs at a size other than the one that it was exported at: the answer has
# another shape, without a warning. Anything that pads or subsamples to ⌈n / s⌉ samples is concerned; (n + 1) // 2 is not.
# Output seen:
#   old: 13 columns give 6, torch gives 7
#   new: 13 columns give 6, torch gives 7
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 numpy onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
cd "$folder"
venv/bin/python -W ignore - <<'PY' | grep -v '^\[torch.onnx\]'
import numpy as np
import onnxruntime
import torch


class FirstHalf(torch.nn.Module):
    def forward(self, x):
        return x[:, : -(-x.shape[1] // 2)] + 0


net, example = FirstHalf().eval(), (torch.zeros(1, 12),)
names = {"input_names": ["x"], "output_names": ["y"]}
size = torch.export.Dim("n", min=2, max=100)
torch.onnx.export(net, example, "old.onnx", dynamo=False, dynamic_axes={"x": {1: "n"}}, **names)
torch.onnx.export(net, example, "new.onnx", dynamo=True, dynamic_shapes={"x": {1: size}}, **names)
for exporter in ("old", "new"):
    session = onnxruntime.InferenceSession(f"{exporter}.onnx")
    (answer,) = session.run(None, {"x": np.zeros((1, 13), np.float32)})
    right = net(torch.zeros(1, 13)).shape[1]
    print(f"{exporter}: 13 columns give {answer.shape[1]}, torch gives {right}")
    assert (answer.shape[1], right) == (6, 7), "the behaviour has changed"
PY
