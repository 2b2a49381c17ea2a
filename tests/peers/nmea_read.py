"""Reads NMEA sentences (a JSON list on standard input) with pynmea2 and tells what each says."""

import json
import sys

import pynmea2

out = []
for line in json.load(sys.stdin):
    message = pynmea2.parse(line, check=True)
    row = {"type": getattr(message, "sentence_type", type(message).__name__)}
    if row["type"] == "RMC":
        row |= {"status": message.status, "lat": message.latitude, "lon": message.longitude}
    out.append(row)
json.dump(out, sys.stdout)
