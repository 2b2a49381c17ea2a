"""Runs a model in onnxruntime and says what it costs.

argv: MODEL.onnx
stdin: {"shape": [...], "data": [...], "runs": n, "threads": n, "spins": true where idle threads are to spin}, for the
       model's first input
stdout: {"cpu_ms": a run, "wall_ms": a run, "first_ms": from the file to the first result, "peak_mb": memory above what
         the process had before it opened the file, "output": [...]}
"""

import json
import sys
import time

import numpy as np
import onnxruntime


def memory_mb(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


request = json.load(sys.stdin)
pixels = np.array(request.pop("data"), dtype=np.float32).reshape(request["shape"])
# What was used and given back before does not count as the largest.
with open("/proc/self/clear_refs", "w") as forget:
    forget.write("5")
before = memory_mb("VmRSS")
start = time.perf_counter()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = request["threads"]
# Idle threads that spin count as processor time.
options.add_session_config_entry("session.intra_op.allow_spinning", "1" if request.get("spins") else "0")
# Without VNNI its sums of bytes may overflow 16 bits otherwise; with it this would only be slower.
with open("/proc/cpuinfo") as processor:
    if "vnni" not in processor.read():
        options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = {session.get_inputs()[0].name: pixels}
output = session.run(None, inputs)[0]
first = time.perf_counter() - start
for _ in range(request["runs"] // 4):
    session.run(None, inputs)
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(request["runs"]):
    session.run(None, inputs)
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
json.dump(
    {
        "cpu_ms": cpu * 1e3 / request["runs"],
        "wall_ms": wall * 1e3 / request["runs"],
        "first_ms": first * 1e3,
        "peak_mb": memory_mb("VmHWM") - before,
        "output": output.ravel().tolist(),
    },
    sys.stdout,
)
