"""Checks a model with onnx.checker and runs it in onnxruntime.

argv: MODEL.onnx
stdin: {"runs": [{INPUT: {"shape": [...], "data": [...]}}, ...]}
stdout: {"runs": [{OUTPUT: {"shape": [...], "data": [...]}}, ...]}
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime

path = sys.argv[1]
onnx.checker.check_model(onnx.load(path), full_check=True)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
# Without VNNI its products of bytes saturate at 16 bits, unless they are asked to be right.
options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
answers = []
for run in json.load(sys.stdin)["runs"]:
    inputs = {
        name: np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"]) for name, tensor in run.items()
    }
    outputs = session.run(names, inputs)
    answers.append(
        {
            name: {"shape": list(output.shape), "data": output.ravel().tolist()}
            for name, output in zip(names, outputs)
        }
    )
json.dump({"runs": answers}, sys.stdout)
