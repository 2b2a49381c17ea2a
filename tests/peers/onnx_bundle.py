"""Checks a bundle's two graphs with onnx.checker and runs panoramas through both in onnxruntime.

argv: ENCODER.onnx HEADS.onnx PIXELS.f32 ANSWERS.f32
PIXELS: normalised views, float32 [panoramas, 4, 3, S, S]
ANSWERS (written): float32 [panoramas, d + cells], the mean embedding and the cells' logits
stdin: {"side": S}
stdout: {"panoramas": N}
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime

encoder, heads, pixels, answers = sys.argv[1:]
side = json.load(sys.stdin)["side"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
# Without VNNI its products of bytes saturate at 16 bits, unless they are asked to be right.
options.add_session_config_entry("session.x64quantprecision", "1")


def session(path):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


encoder, heads = session(encoder), session(heads)
panoramas = np.fromfile(pixels, dtype=np.float32).reshape(-1, 4, 3, side, side)
with open(answers, "wb") as out:
    for views in panoramas:
        embedding = encoder.run(["embeddings"], {"views": views})[0].mean(axis=0, keepdims=True)
        cells = heads.run(["cells"], {"embedding": embedding})[0]
        np.concatenate([embedding[0], cells[0]]).astype(np.float32).tofile(out)
json.dump({"panoramas": len(panoramas)}, sys.stdout)
