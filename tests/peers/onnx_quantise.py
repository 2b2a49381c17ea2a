"""Quantises the convolutions of a model for onnxruntime, which computes them in floats otherwise: static, QDQ, weights by
channel, as its documentation recommends for convolutions. All else stays as it is.

argv: MODEL.onnx QUANTISED.onnx
stdin: {"shape": [...], "data": [...]}, pictures that the ranges of the activations are taken from
stdout: the number of convolutions
"""

import json
import logging
import sys

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

request = json.load(sys.stdin)
pixels = np.array(request["data"], dtype=np.float32).reshape(request["shape"])
source, target = sys.argv[1:]
graph = onnx.load(source).graph


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{graph.input[0].name: pixels}])

    def get_next(self):
        return next(self.left, None)


# It recommends a preparation that is for models in floats.
logging.disable(logging.WARNING)
quantize_static(
    source,
    target,
    Pictures(),
    quant_format=QuantFormat.QDQ,
    op_types_to_quantize=["Conv"],
    per_channel=True,
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
)
json.dump(sum(node.op_type == "Conv" for node in graph.node), sys.stdout)
