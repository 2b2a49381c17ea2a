"""Drives the program over the emulated board and says what came of it; cross/virtual-device calls it."""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import initramfs
from emulator import Board, Consumer, Failure, Log
from gps import Gpsd, Satellites, is_whole, kilometres

HERE = Path(__file__).parent
# A drive on which the cameras know well where they are.
SEED, PANORAMAS = 5, 16
# Seconds between two fixes. An emulated processor needs its time for one, and the cameras move on in between.
PACE_S = 2.0
# Fixes whose sentences the line's buffers hold at most: the emulator's and the driver's, 4.5 KB, and the program's own 8.
FULL_LINE = 32
PATIENCE_S = 180
# Of the whole run, whatever hangs.
LIMIT_S = 1800
LETTERS = {"agree": "A", "disagree": "D", "gps absent": "N", "vision unsure": "U"}

CONFIGURATION = f"""
board = "jetson"
out = "/run/out"
link = "/dev/ttyS1"
rate_hz = {1 / PACE_S}
[cameras]
front = "/dev/video0"
right = "/dev/video1"
back = "/dev/video2"
left = "/dev/video3"
format = "yuyv"
width = 320
height = 240
[gnss]
source = "/dev/ttyS0"
[display]
kind = "ssd1306"
i2c = "/dev/i2c-0"
"""


def require(true, what):
    if not true:
        raise Failure(what)


def position(fix):
    return (fix["lat"], fix["lon"])


def seconds(fix):
    return datetime.fromisoformat(fix["time"]).timestamp()


def drive_here(options, folder, log):
    """Takes the pictures of the drive, and what the program makes of them on this machine."""
    drive = folder / "drive"
    subprocess.run([options.rig, "record", drive, str(SEED), str(PANORAMAS)], check=True)
    truth = [json.loads(line) for line in (drive / "panoramas.jsonl").read_text().splitlines()]
    log.say(f"{PANORAMAS} panoramas of 4 pictures of {(drive / 'size').read_text().strip()} pixels")
    here = folder / "here"
    configuration = folder / "here.toml"
    configuration.write_text(f'board = "jetson"\nrate_hz = 10.0\n[cameras]\nrecorded = "{drive}"\n')
    command = [options.host, "run", "--bundle", options.bundle, "--config", configuration, "--out", here, "--fixes"]
    ran = subprocess.run([*command, str(PANORAMAS)], capture_output=True, text=True, timeout=600)
    require(ran.returncode == 0, f"{options.host} does not drive here: {ran.stderr.strip()}")
    fixes = [json.loads(line) for line in (here / "fixes.jsonl").read_text().splitlines()]
    require(len(fixes) == PANORAMAS, f"{len(fixes)} fixes on this machine, expected {PANORAMAS}")
    off = statistics.median(kilometres(position(f), (t["lat"], t["lon"])) for f, t in zip(fixes, truth))
    log.say(f"{len(fixes)} fixes on this machine, {off:.0f} km off in the median")
    return drive, truth, fixes


def next_fix(board, since, what, matches, seconds=PATIENCE_S):
    """The first fix for which `matches` holds."""

    def fix_of(line):
        fix = json.loads(line.removeprefix("guest: fix ")) if line.startswith("guest: fix ") else None
        return fix if fix and matches(fix) else None

    return board.wait(what, seconds, since, fix_of)


def all_fixes(board):
    lines = board.lines[:]
    return [json.loads(line.removeprefix("guest: fix ")) for line in lines if line.startswith("guest: fix ")]


def same_drive(board, here, log):
    """Fix by fix: the emulated board against this machine."""
    there = all_fixes(board)[:PANORAMAS]
    apart, probabilities, cells = [], [], 0
    for number, (a, b) in enumerate(zip(there, here), 1):
        require(a["views"] == 4, f"fix {number} has {a['views']} views, expected 4")
        same = a["cells"][0]["id"] == b["cells"][0]["id"]
        cells += same
        apart.append(kilometres(position(a), position(b)))
        probabilities.append(abs(a["cells"][0]["p"] - b["cells"][0]["p"]))
        log.say(
            f"fix {number:2}: cell {a['cells'][0]['id']} there, {b['cells'][0]['id']} here; "
            f"{apart[-1]:.3f} km apart; {a['place']}, {a['country']}; {a['latency_ms']['total']:.0f} ms"
        )
    log.say(
        f"expected the same cell in all, came {cells} of {PANORAMAS}; expected at most 1 km apart, came "
        f"{max(apart):.3f} km at most, {statistics.median(apart):.3f} in the median; "
        f"probabilities differ by {max(probabilities):.5f} at most"
    )
    require(cells == PANORAMAS, f"{PANORAMAS - cells} fixes are in other cells than on this machine")
    require(max(apart) <= 1, f"a fix lies {max(apart):.1f} km from where it lies on this machine")


def sentences(board, consumer, log):
    """Each fix of the drive went over the line as it is in the file."""
    fixes = all_fixes(board)[:PANORAMAS]
    lines = consumer.lines()
    broken = [line for line in lines if not is_whole(line)]
    require(not broken, f"{len(broken)} sentences are broken, as {broken[:1]}")
    rmc = {line.split(",")[1]: line.split(",") for line in lines if line.startswith("$GPRMC")}
    ours = {line.split(",")[1]: line.split(",") for line in lines if line.startswith("$PHOM")}
    for number, fix in enumerate(fixes, 1):
        clock = f"{fix['time'][11:22].replace(':', '')}"
        require(clock in rmc and clock in ours, f"no sentences of fix {number} at {clock}; there are {sorted(rmc)}")
        said = rmc[clock]
        minutes = lambda text, letter: (int(text[:-7]) + float(text[-7:]) / 60) * (-1 if letter in "SW" else 1)
        at = (minutes(*said[3:5]), minutes(*said[5:7]))
        require(kilometres(at, position(fix)) < 0.001, f"RMC of fix {number} says {at}, the fix {position(fix)}")
        require(said[2] == "A" and said[12].startswith("E"), f"RMC of fix {number} is no estimate: {said}")
        verdict = LETTERS[fix["gnss"]["verdict"]]
        require(ours[clock][5:7] == [str(fix["views"]), verdict], f"PHOM of fix {number} says {ours[clock]}")
    log.say(f"{len(lines)} sentences, all whole; RMC and PHOM of each of the {PANORAMAS} fixes say what the fix says")


def display(board, options, log, matches=lambda fix: True):
    """The display shows one of the last fixes: every pixel belongs to a letter, and the letters are the fix's."""
    why = "nothing"
    # It is drawn again with each fix, and a slow bus may leave some out.
    for _ in range(20):
        since = board.mark()
        board.tell("screen")
        picture = board.wait("the display's picture", 60, since, lambda line: re.search(r"guest: screen (\w+)", line))
        read = subprocess.run([options.rig, "read", picture[1]], capture_output=True, text=True)
        if read.returncode == 0:
            said = json.loads(read.stdout)
            if any(matches(fix) and shows(said, fix) for fix in all_fixes(board)[-4:]):
                words = ("title", "clock", "place", "country", "position", "radius", "verdict", "views")
                log.say("expected one of the last fixes on the display, came " + "; ".join(said[w] for w in words))
                return
            why = f"{said}, which is none of the last fixes"
        else:
            why = read.stderr.strip()
        next_fix(board, board.mark(), "a fix", lambda fix: True)
    raise Failure(f"the display shows {why}")


def shows(said, fix):
    """Whether what the display says is what a fix says."""
    lat, lon = position(fix)
    expected = f"{abs(lat):.3f}°{'NS'[lat < 0]} {abs(lon):.3f}°{'EW'[lon < 0]}"
    radius = f"±{fix['radius_km']['p50']:.0f}/{fix['radius_km']['p95']:.0f} km (50/95%)"
    verdict, km = fix["gnss"]["verdict"], fix["gnss"]["distance_km"]
    words = f"GPS {verdict} {km:.0f} km" if verdict in ("agree", "disagree") and km is not None else verdict
    town = fix["place"] or ""
    return (
        said["title"] == "HOMING simulated"
        and said["views"] == f"{fix['views']}v"
        and said["clock"] == fix["time"][11:16]
        and said["place"] == town[:18].rstrip()
        and said["country"] == fix["country"]
        and said["position"] == expected
        and said["radius"] == radius
        and said["verdict"] == words[:21].rstrip()
    )


def cameras_fail(board, log):
    for name, device, does, says in (
        ("left", 3, "unplug", r"(was unplugged|is not there|was not there)"),
        ("right", 1, "stall", r"gives no frames"),
    ):
        since = board.mark()
        board.tell(f"{does} {name}")
        board.expect(f"expected that the {name} camera fails", rf"homing: .*/dev/video{device} {says}", since)
        fix = next_fix(board, since, "a fix from three cameras", lambda fix: fix["views"] == 3)
        log.say(f"expected fixes from three cameras, came {fix['views']} views, {fix['place']}, {fix['country']}")
        since = board.mark()
        board.tell(f"return {name}")
        board.expect("expected that it returns", rf"homing: .*/dev/video{device} gives pictures again", since)
        fix = next_fix(board, since, "a fix from four cameras", lambda fix: fix["views"] == 4)
        log.say(f"expected fixes from four cameras, came {fix['views']} views")


def gps_fails(board, satellites, log):
    for mood, verdict in (("silent", "gps absent"), ("lies", "disagree"), ("right", "agree")):
        since = board.mark()
        satellites.mood = mood
        fix = next_fix(board, since, f"{verdict} when GPS is {mood}", lambda fix: fix["gnss"]["verdict"] == verdict)
        board.expect(f"GPS {mood}, expected {verdict}", rf"homing: verdict .* -> {verdict}", since)
        require((fix["gnss"]["lat"] is None) == (mood == "silent"), f"GPS is {mood}, and the fix has {fix['gnss']}")


def line_stalls(board, consumer, log):
    since = board.mark()
    consumer.reading.clear()
    fixes = []
    next_fix(board, since, f"{FULL_LINE} fixes while the line stalls",
             lambda fix: fixes.append(fix) or len(fixes) == FULL_LINE, FULL_LINE * PACE_S * 4 + 60)  # fmt: skip
    gaps = [seconds(b) - seconds(a) for a, b in zip(fixes, fixes[1:])]
    log.say(f"expected a fix every {PACE_S:.0f} s although nobody reads, came {FULL_LINE}, {max(gaps):.1f} s apart at most")
    require(max(gaps) < 2 * PACE_S, "the line holds up the fixes")
    mark = consumer.mark()
    consumer.reading.set()
    newest = all_fixes(board)[-1]["time"][11:22].replace(":", "")
    newer = lambda lines: [l for l in lines[1:] if l.startswith("$GPRMC") and l.split(",")[1] >= newest]
    line = consumer.wait("a sentence of a newer fix", PATIENCE_S, mark, newer)[0]
    log.say(f"expected the newest fix when somebody reads again, came {line}")
    broken = [line for line in consumer.lines(mark)[1:] if not is_whole(line)]
    require(not broken, f"{len(broken)} sentences are broken after that, as {broken[:1]}")


def run(options):
    folder = options.folder
    log = Log(folder / "console.log")
    log.step("the drive: its pictures, and its fixes on this machine")
    drive, truth, here = drive_here(options, folder, log)
    # Where the vehicle stands when things fail: the fix is narrow, and the truth well inside it.
    inside = lambda i: kilometres(position(here[i]), (truth[i]["lat"], truth[i]["lon"])) < here[i]["radius_km"]["p95"] / 2
    rest = min(filter(inside, range(PANORAMAS)), key=lambda i: here[i]["radius_km"]["p95"]) + 1

    log.step("the emulated board: a Cortex-A76 with Debian's kernel")
    configuration = folder / "homing.toml"
    configuration.write_text(CONFIGURATION)
    file_system = folder / "root.cpio"
    initramfs.write(file_system, options.board, HERE / "init", options.guest, options.program, options.libraries,
                    options.bundle, drive, configuration)  # fmt: skip
    qemu = [*options.run, options.board / "usr/bin/qemu-system-aarch64", "-L", options.board / "usr/share/qemu"]
    board = Board(qemu, options.kernel, file_system, folder, log)
    gpsd = None
    try:
        consumer = Consumer(board.serial("line"))
        satellites = Satellites(board.serial("receiver"), (truth[0]["lat"], truth[0]["lon"]))
        board.expect("expected that it starts", "guest: ready", 0, 300)
        board.tell("look")
        for name in ("front", "right", "back", "left"):
            seen = board.expect("expected that cameras give what is put in", rf"guest: sees the {name} camera, (\d+)", 0)
            require(seen[1] == "0", f"the {name} camera gives other pixels")

        log.step("the drive on the board: four cameras, GPS in, sentences out")
        gpsd = Gpsd([*options.run, options.board / "usr/sbin/gpsd"], consumer, log)
        board.on_panorama = lambda n: setattr(satellites, "position", (truth[n - 1]["lat"], truth[n - 1]["lon"]))
        since = board.mark()
        board.tell(f"follow {PANORAMAS}")
        board.tell("run")
        board.expect("expected that the program starts", r"homing: board jetson", since, 300)
        made = []
        next_fix(board, since, f"{PANORAMAS} fixes", lambda fix: made.append(fix) or len(made) == PANORAMAS,
                 PANORAMAS * PACE_S * 6 + 120)  # fmt: skip
        same_drive(board, here, log)
        sentences(board, consumer, log)
        known = [position(fix) for fix in made]
        at = lambda report: min(kilometres((report["lat"], report["lon"]), p) for p in known)
        estimated = lambda r: r.get("mode") == 2 and r.get("status") == 5 and "lat" in r and at(r) < 0.01
        report = gpsd.wait("a dead-reckoning fix from gpsd", 60, estimated)
        log.say(f"gpsd says: dead reckoning, two dimensions, {report['lat']:.4f} {report['lon']:.4f}, one of the fixes")
        board.tell(f"show {rest}")
        since = board.mark()
        agreed = next_fix(board, since, "GPS and cameras agree", lambda fix: fix["gnss"]["verdict"] == "agree")
        off = 1000 * kilometres((agreed["gnss"]["lat"], agreed["gnss"]["lon"]), satellites.position)
        log.say(f"expected that GPS and cameras agree, came {agreed['gnss']['distance_km']:.0f} km; receiver {off:.1f} m off")
        require(off < 1, "the receiver's position is not the one that was sent")
        display(board, options, log)

        log.step("a camera is unplugged and returns, another stalls and returns")
        cameras_fail(board, log)
        log.step("GPS goes silent, lies, and is right again")
        gps_fails(board, satellites, log)
        display(board, options, log, lambda fix: fix["gnss"]["verdict"] == "agree")
        log.step("the line stalls")
        line_stalls(board, consumer, log)

        log.step("the end")
        since = board.mark()
        board.tell("stop")
        board.expect("expected that sentences were dropped", r"homing: line +\d+ bursts sent, [1-9]\d* dropped", since)
        board.expect("the receiver", r"homing: receiver .*", since)
        for name in ("front", "right", "back", "left"):
            board.expect("cameras", rf"homing: {name} camera .*", since)
        board.expect("expected that the program ends well", r"guest: homing ended, exit status: 0", since)
        panics = [line for line in board.lines if "panicked" in line]
        require(not panics, f"the program panicked: {panics[:1]}")
    finally:
        board.off()
        if gpsd:
            gpsd.off()
    took = [fix["latency_ms"]["total"] for fix in all_fixes(board)]
    log.say(f"all of it went well; {len(took)} fixes, {statistics.median(took):.0f} ms each in the median")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("program", "host", "guest", "rig", "board", "kernel", "libraries", "bundle", "folder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("run", nargs="*", help="what stands before programs of the board's packages")
    options = parser.parse_args()
    # What the programs say is for people.
    os.environ["RUST_BACKTRACE"] = "0"

    def ended(number, _):
        raise Failure(f"ended by {signal.Signals(number).name}; it may take {LIMIT_S} s")

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, ended)
    signal.alarm(LIMIT_S)
    try:
        run(options)
    except (Failure, OSError, subprocess.SubprocessError) as e:
        print(f"\ncross/virtual-device: {e}\nthe console's log is {options.folder / 'console.log'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
