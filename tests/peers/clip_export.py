"""Vision transformers as others export them: transformers' CLIP (queries, keys and values apart, quick GELU), and one in
timm's form (one projection for all three, GELU by tanh), with random weights, through torch's ONNX exporter and
onnxruntime's dynamic quantisation. The last is exported in two versions of the format: since 20 a GELU is one node.

stdin: {"side": pixels, "views": n, "pixels": [n * 3 * side * side]}
stdout: {NAME: [embeddings as onnxruntime computes them]}; argument: the folder that takes NAME.onnx
"""

import json
import sys
import warnings
from pathlib import Path

import slim_torch  # noqa: F401

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

warnings.filterwarnings("ignore")
WIDTH, HEADS, LAYERS, PATCH = 128, 2, 2, 8


class Clip(nn.Module):
    def __init__(self, side):
        super().__init__()
        shape = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS}
        shape |= {"num_attention_heads": HEADS, "image_size": side, "patch_size": PATCH, "hidden_act": "quick_gelu"}
        config = CLIPVisionConfig(**shape, attn_implementation="eager")
        self.model = CLIPVisionModel(config)

    def forward(self, views):
        return self.model(pixel_values=views).pooler_output


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        n, tokens, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attention = (q * (WIDTH // HEADS) ** -0.5) @ k.transpose(-2, -1)
        x = x + self.proj((attention.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, WIDTH))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class Timm(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (side // PATCH) ** 2 + 1, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, views):
        x = self.embed(views).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.norm(self.blocks(x))[:, 0]


request = json.load(sys.stdin)
side, views = request["side"], request["views"]
pixels = np.array(request["pixels"], np.float32).reshape(views, 3, side, side)
folder, answers = Path(sys.argv[1]), {}
for name, model, version in [("clip", Clip, 17), ("timm", Timm, 17), ("timm20", Timm, 20)]:
    torch.manual_seed(4)
    model = model(side).eval()
    floats, file = folder / f"{name}.float.onnx", folder / f"{name}.onnx"
    torch.onnx.export(model, (torch.from_numpy(pixels),), floats, input_names=["views"], output_names=["embeddings"],
                      opset_version=version, dynamo=False)
    quantize_dynamic(floats, file, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    answers[name] = session.run(None, {"views": pixels})[0].ravel().tolist()
json.dump(answers, sys.stdout)
