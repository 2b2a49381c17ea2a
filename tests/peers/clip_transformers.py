"""Makes small random CLIP models with transformers, saves them as its users do, and tells what they compute.

argv: FOLDER VOCABULARY
FOLDER (written): MODEL/single and MODEL/sharded for each model, with config.json, and MODEL/answers.safetensors:
    pixels [n, 3, S, S], tokens [captions, 77], last_hidden_state, image_features, text_features, logits_per_image
VOCABULARY: CLIP's bpe_simple_vocab_16e6.txt
stdin: {"models": {MODEL: {"seed": n, "config": CLIPConfig's arguments}}, "images": n, "captions": [text, ...]}
stdout: {"tokens": [[id, ...], ...]}: of each caption, cut to 77 and without padding
"""

import slim_torch  # noqa: F401, before torch

import hashlib
import json
import logging
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar

logging.disable(logging.WARNING)
disable_progress_bar()
torch.set_num_threads(1)

# Of the file that OpenAI's CLIP and open_clip_torch 3.3.0 come with, unpacked.
VOCABULARY_SHA256 = "67603cfda2e032ad77b5f8808af37789d590db664b26df8705d2bf8b3c553fc8"
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols():
    """The printable character that stands for each byte in the vocabulary, in its order of symbols."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def tokenizer(path):
    text = Path(path).read_bytes()
    assert hashlib.sha256(text).hexdigest() == VOCABULARY_SHA256, f"{path} is not CLIP's vocabulary"
    symbols = byte_symbols()
    merges = [tuple(line.split()) for line in text.decode().split("\n")[1 : 49408 - 512 - 2 + 1]]
    words = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(merge) for merge in merges] + [START, END]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=merges)


def randomised(config, seed):
    """Weights with activations of ordinary size: transformers' own start is so small that errors would hide."""
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig(**config)).eval()
    for name, weight in model.named_parameters():
        norm = "norm" in name
        if name == "logit_scale":
            continue
        if norm or name.endswith("bias"):
            torch.nn.init.normal_(weight, 1.0 if norm and name.endswith("weight") else 0.0, 0.1)
        elif "embedding" in name and "patch" not in name:
            torch.nn.init.normal_(weight, 0.0, 0.5)
        else:
            torch.nn.init.normal_(weight, 0.0, weight[0].numel() ** -0.5)
    return model


def answers(model, tokens, images, seed):
    side = model.config.vision_config.image_size
    pixels = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(seed))
    vision = model.vision_model(pixel_values=pixels)
    out = model(input_ids=tokens, pixel_values=pixels)
    return {
        "pixels": pixels,
        "tokens": tokens,
        "last_hidden_state": vision.last_hidden_state,
        "image_features": model.visual_projection(vision.pooler_output),
        "text_features": model.text_projection(model.text_model(input_ids=tokens).pooler_output),
        "logits_per_image": out.logits_per_image,
    }


folder, vocabulary = sys.argv[1:]
request = json.load(sys.stdin)
tokenize = tokenizer(vocabulary)
cut = {"truncation": True, "max_length": 77}
tokens = tokenize(request["captions"], padding="max_length", return_tensors="pt", **cut)["input_ids"]
for name, wanted in request["models"].items():
    with torch.no_grad():
        model = randomised(wanted["config"], wanted["seed"])
        found = answers(model, tokens, request["images"], wanted["seed"])
    target = Path(folder) / name
    model.save_pretrained(target / "single")
    model.save_pretrained(target / "sharded", max_shard_size="200KB")
    save_file({key: value.contiguous() for key, value in found.items()}, target / "answers.safetensors")
json.dump({"tokens": tokenize(request["captions"], **cut)["input_ids"]}, sys.stdout)
