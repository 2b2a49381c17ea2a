"""The receiver that the board hears, and the gpsd that hears the board."""

import json
import math
import socket
import subprocess
import threading
import time
from datetime import datetime, timezone

from emulator import Failure


def checked(body):
    """A sentence with its checksum."""
    total = 0
    for byte in body.encode():
        total ^= byte
    return f"${body}*{total:02X}\r\n"


def is_whole(line):
    body, star, total = line[1:].partition("*")
    return line.startswith("$") and bool(star) and checked(body) == f"${body}*{total}\r\n" and len(line) <= 80


def degrees(value, letters, digits):
    whole, minutes = divmod(round(abs(value) * 600000), 600000)
    return f"{whole:0{digits}d}{minutes / 10000:07.4f},{letters[value < 0]}"


def kilometres(a, b):
    """Between two positions (latitude, longitude) on a sphere."""
    (la, oa), (lb, ob) = (map(math.radians, p) for p in (a, b))
    half = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin((ob - oa) / 2) ** 2
    return 2 * 6371.0088 * math.asin(min(1, math.sqrt(half)))


class Satellites:
    """A receiver with one fix a second: it is right, silent, or it lies."""

    def __init__(self, connection, position):
        self.connection = connection
        self.position = position
        self.mood = "right"
        self.ended = threading.Event()
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self):
        while not self.ended.wait(1 - time.time() % 1):
            if self.mood == "silent":
                continue
            lat, lon = self.position
            if self.mood == "lies":
                # To the other side of the equator and far along it.
                lat, lon = -lat, (lon + 40 + 180) % 360 - 180
            now = datetime.now(timezone.utc)
            at = f"{degrees(lat, 'NS', 2)},{degrees(lon, 'EW', 3)}"
            clock = now.strftime("%H%M%S.00")
            burst = checked(f"GPRMC,{clock},A,{at},0.0,,{now:%d%m%y},,,A")
            burst += checked(f"GPGGA,{clock},{at},1,09,0.9,120.0,M,45.0,M,,")
            try:
                self.connection.sendall(burst.encode())
            except OSError:
                return


class Gpsd:
    """gpsd, fed with what the consumer of the line gets."""

    def __init__(self, program, consumer, log):
        feed = socket.create_server(("127.0.0.1", 0))
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        source = f"tcp://127.0.0.1:{feed.getsockname()[1]}"
        command = [*program, "-N", "-n", "-b", "-S", str(port), source]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip
        self.reports = []
        self.changed = threading.Condition()
        threading.Thread(target=self._complaints, args=(log,), daemon=True).start()
        feed.settimeout(60)
        try:
            listener, _ = feed.accept()
        except TimeoutError as e:
            raise Failure("gpsd does not read its source") from e
        consumer.listeners.append(listener)
        threading.Thread(target=self._watch, args=(port,), daemon=True).start()

    def _complaints(self, log):
        for line in self.process.stderr:
            log.write(f"gpsd: {line.decode(errors='replace').strip()}")

    def _watch(self, port):
        until = time.monotonic() + 60
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", port), 5)
                break
            except OSError:
                if time.monotonic() > until:
                    return
                time.sleep(0.1)
        client.settimeout(None)
        client.sendall(b'?WATCH={"enable":true,"json":true};\n')
        for line in client.makefile():
            report = json.loads(line)
            if report.get("class") == "TPV":
                with self.changed:
                    self.reports.append(report)
                    self.changed.notify_all()

    def wait(self, what, seconds, matches):
        """The first report for which `matches` holds."""
        until = time.monotonic() + seconds
        with self.changed:
            while True:
                for report in self.reports:
                    if matches(report):
                        return report
                left = until - time.monotonic()
                if left <= 0:
                    raise Failure(f"{what}: did not come within {seconds} s; gpsd said {self.reports[-2:]}")
                self.changed.wait(left)

    def off(self):
        self.process.kill()
        self.process.wait()
