"""Reads MAVLink bytes (the file named) with pymavlink, in ArduPilot's dialect, and tells each message and its frame."""

import json
import math
import sys

from pymavlink.dialects.v20 import ardupilotmega

reader = ardupilotmega.MAVLink(None)
# Bytes that are no frame become BAD_DATA, which the test counts.
reader.robust_parsing = True
out = []
with open(sys.argv[1], "rb") as file:
    messages = reader.parse_buffer(file.read()) or []
for message in messages:
    row = message.to_dict()
    if message.get_type() == "BAD_DATA":
        row = {"mavpackettype": "BAD_DATA", "reason": message.reason}
    row |= {
        "bytes": len(message.get_msgbuf()),
        "sequence": message.get_seq(),
        "system": message.get_srcSystem(),
        "component": message.get_srcComponent(),
    }
    # JSON has no NaN.
    out.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
json.dump(out, sys.stdout)
