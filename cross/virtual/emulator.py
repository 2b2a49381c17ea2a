"""The emulated board from outside: its power, its console and its two serial lines."""

import re
import socket
import subprocess
import threading
import time
from collections import deque


class Failure(Exception):
    """Something did not come as expected, or at all."""


class Log:
    """What is done, what was expected and what came, for a person."""

    def __init__(self, path):
        self.begun = time.monotonic()
        self.console = open(path, "w")

    def say(self, text):
        print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True)

    def step(self, text):
        print(f"\n== {text}", flush=True)

    def write(self, line):
        self.console.write(f"{time.monotonic() - self.begun:8.2f} {line}\n")
        self.console.flush()


class Board:
    """A board that is switched on with the object and off with `off`."""

    def __init__(self, qemu, kernel, file_system, folder, log):
        self.log = log
        self.lines = []
        self.at = 0
        self.changed = threading.Condition()
        self.sockets = {name: str(folder / f"{name}.socket") for name in ("receiver", "line")}
        ports = []
        for name, path in self.sockets.items():
            ports += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
        command = [
            *qemu, "-M", "virt", "-cpu", "cortex-a76", "-smp", "2", "-m", "1024",
            "-kernel", kernel, "-initrd", file_system, "-append", "console=ttyAMA0 loglevel=1 panic=-1",
            "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none", "-no-reboot",
            *ports, "-device", "pci-serial-2x,chardev1=receiver,chardev2=line",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def off(self):
        """Whatever it does: it is off afterwards."""
        self.process.kill()
        self.process.wait()

    def _listen(self):
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").strip()
            self.log.write(line)
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.lines.append("the emulator ended")
            self.changed.notify_all()

    def tell(self, command):
        """A command for the guest; src/guest/main.rs lists them."""
        self.log.write(f"> {command}")
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def mark(self):
        """What comes from now on; for `wait`."""
        with self.changed:
            return len(self.lines)

    def wait(self, what, seconds, since, matches):
        """What `matches` answers for the first line after `since` for which it has an answer; `at` is behind that line."""
        until = time.monotonic() + seconds
        self.at = since
        with self.changed:
            while True:
                for line in self.lines[self.at :]:
                    self.at += 1
                    answer = matches(line)
                    if answer:
                        return answer
                    if line == "the emulator ended" or line.startswith("guest: cannot do"):
                        raise Failure(f"{what}: did not come; {line}")
                left = until - time.monotonic()
                if left <= 0:
                    raise Failure(f"{what}: did not come within {seconds} s; the last line was {self.lines[-1:]}")
                self.changed.wait(left)

    def expect(self, what, pattern, since, seconds=120):
        """Waits for a line and shows it."""
        found = self.wait(what, seconds, since, lambda line: re.search(pattern, line))
        self.log.say(f"{what}: {found.string.split(': ', 1)[-1]}")
        return found

    def serial(self, name):
        """The other end of a serial line."""
        connection = socket.socket(socket.AF_UNIX)
        until = time.monotonic() + 30
        while True:
            try:
                connection.connect(self.sockets[name])
                return connection
            except OSError as e:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise Failure(f"the emulator's serial line {name}: {e}") from e
                time.sleep(0.05)


class Consumer:
    """Who listens to the sentences. While `reading` is false it does not, and the line fills up."""

    def __init__(self, connection):
        self.connection = connection
        self.connection.settimeout(0.2)
        self.reading = threading.Event()
        self.reading.set()
        self.changed = threading.Condition()
        self.bytes = bytearray()
        self.listeners = deque()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            self.reading.wait()
            try:
                got = self.connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if not got:
                return
            with self.changed:
                self.bytes += got
                self.changed.notify_all()
            for listener in list(self.listeners):
                try:
                    listener.sendall(got)
                except OSError:
                    self.listeners.remove(listener)

    def mark(self):
        with self.changed:
            return len(self.bytes)

    def lines(self, since=0):
        """Whole lines, the first perhaps cut."""
        with self.changed:
            text = self.bytes[since:].decode("ascii", errors="replace")
        return text.split("\r\n")[:-1]

    def wait(self, what, seconds, since, matches):
        """What `matches` answers for the lines after `since`, as soon as it answers."""
        until = time.monotonic() + seconds
        while True:
            answer = matches(self.lines(since))
            if answer:
                return answer
            left = until - time.monotonic()
            if left <= 0:
                raise Failure(f"{what}: did not come within {seconds} s; the last lines were {self.lines(since)[-4:]}")
            with self.changed:
                self.changed.wait(min(left, 1))
