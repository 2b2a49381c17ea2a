"""Training steps of a vision transformer with a convolutional stem in PyTorch eager, as one would write them.

stdin: {"tower": the recipe's table, "cells": n, "regressions": n, "classes": [n, ...], "sites": n, "views": n,
        "threads": n, "warm_up": steps, "steps": steps, "autocast": whether in bfloat16 as torch.autocast has it}
stdout: {"wall": s, "cpu": s} of the steps after the warm-up
"""

import slim_torch  # noqa: F401, before torch

import copy
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

request = json.load(sys.stdin)
tower = request["tower"]
torch.set_num_threads(request["threads"])
torch.manual_seed(1)


def conv(inputs, outputs, kernel, stride):
    pad = -((stride - kernel) // 2) if stride > 1 else kernel // 2
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.second = conv(channels, channels, 3, 1), conv(channels, channels, 3, 1)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


class Block(nn.Module):
    def __init__(self, d, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(d, hidden), nn.Linear(hidden, d)

    def forward(self, x):
        n, t, d = x.shape
        y = self.norm1(x)
        q, k, v = (f(y).view(n, t, self.heads, d // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))
        y = self.fc1(self.norm2(x))
        return x + self.fc2(y * torch.sigmoid(1.702 * y))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels, side = [], 3, tower["image_px"]
        for layer in tower["stem"]:
            if "conv" in layer:
                c = layer["conv"]
                layers += [conv(channels, c["out"], c["kernel"], c["stride"]), nn.ReLU()]
                channels, side = c["out"], side // c["stride"]
            else:
                layers.append(Residual(channels))
        d = tower["width"]
        self.stem = nn.Sequential(*layers)
        self.token = nn.Parameter(torch.randn(d) * 0.02)
        self.positions = nn.Parameter(torch.randn(side * side + 1, d) * 0.02)
        self.norm = nn.LayerNorm(d)
        self.blocks = nn.Sequential(*(Block(d, tower["heads"], d * tower["mlp_ratio"]) for _ in range(tower["layers"])))
        sizes = [request["cells"]] + [1] * request["regressions"] + request["classes"]
        self.heads = nn.ModuleList(nn.Linear(d, n) for n in sizes)

    def forward(self, pixels, means):
        x = self.stem(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1) + self.positions
        embedding = means @ self.blocks(self.norm(x)).mean(1)
        return [head(embedding) for head in self.heads]


network = Network().to(memory_format=torch.channels_last).train()
average = copy.deepcopy(network)
optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
views, sites, side = request["views"], request["sites"], tower["image_px"]
pixels = torch.randn(views, 3, side, side).to(memory_format=torch.channels_last)
means = torch.full((sites, views), 1 / views)
cells = torch.full((sites, request["cells"]), 1 / request["cells"])
values = torch.zeros(sites, request["regressions"])
classes = torch.zeros(sites, dtype=torch.long)


def step():
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=request["autocast"]):
        outputs = [output.float() for output in network(pixels, means)]
    loss = F.cross_entropy(outputs[0], cells)
    loss = loss + 8 * F.mse_loss(torch.cat(outputs[1 : 1 + request["regressions"]], 1), values)
    for logits, weight in zip(outputs[1 + request["regressions"] :], (2, 1)):
        loss = loss + weight * F.cross_entropy(logits, classes)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 0.002)


for _ in range(request["warm_up"]):
    step()
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(request["steps"]):
    step()
json.dump({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, sys.stdout)
