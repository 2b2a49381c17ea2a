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
# Seconds between two fixes. Where the emulated processor takes longer for one, it takes longer.
PACE_S = 4.0
# So long after the cameras moved on every frame is of the new panorama.
SETTLED_S = 0.5
# Fixes in a row that agree with each other before one counts: the program remembers so many.
REMEMBERED = 8
# Fixes whose sentences the line's buffers hold at most: the emulator's and the driver's, 4.5 KB, and the program's own 8.
FULL_LINE = 36
# Fixes that something may take, and seconds that a fix may take.
PATIENCE, SILENCE_S = 40, 180
# The program ends after the fix in progress.
END_S = 120
# Of the whole run, whatever hangs.
LIMIT_S = 3600
CAMERAS = ("front", "right", "back", "left")
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
window_ms = 1000
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
    return datetime.fromisoformat(fix["time"].replace("Z", "+00:00")).timestamp()


def clock(fix):
    """Its time of day as the sentences have it."""
    return fix["time"][11:22].replace(":", "")


def drive_here(options, folder, name, sequence, times):
    """The fixes that the program makes on this machine of panoramas in this sequence, at these times."""
    pictures, recording, out = folder / "drive", folder / name, folder / f"{name}-out"
    recording.mkdir()
    lines = []
    for at, (number, time) in enumerate(zip(sequence, times), 1):
        lines.append(json.dumps({"panorama": at, "time_s": time}) + "\n")
        for camera in CAMERAS:
            (recording / f"{at:06}-{camera}.png").symlink_to((pictures / f"{number:06}-{camera}.png").resolve())
    (recording / "panoramas.jsonl").write_text("".join(lines))
    command = [options.host, "run", "--bundle", options.bundle, "--replay", recording, "--out", out]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    require(ran.returncode == 0, f"{options.host} does not drive here: {ran.stderr.strip()}")
    fixes = [json.loads(line) for line in (out / "fixes.jsonl").read_text().splitlines()]
    require(len(fixes) == len(sequence), f"{len(fixes)} fixes on this machine, expected {len(sequence)}")
    return fixes


def next_fix(board, since, what, matches):
    """The first fix for which `matches` holds."""
    for _ in range(PATIENCE):
        fix = board.wait(f"{what}: a fix", SILENCE_S, since, fix_of)
        since = board.at
        if matches(fix):
            return fix
    raise Failure(f"{what}: did not come in {PATIENCE} fixes; the last was {fix}")


def fix_of(line):
    """The fix that a line of the console tells."""
    return json.loads(line.removeprefix("guest: fix ")) if line.startswith("guest: fix ") else None


def all_fixes(board):
    return [fix for fix in map(fix_of, board.lines[:]) if fix]


def show(board, number):
    """Moves the cameras on; since when, by the clock of the fixes."""
    since = board.mark()
    board.tell(f"show {number}")
    return float(board.wait("the cameras move on", 60, since, lambda line: re.match(r"guest: shows \d+ since (.*)", line))[1])


def drive_there(board, satellites, truth, log):
    """Drives over the board: the panorama that each fix saw, or `None` where it may have seen two, or not all of one.

    The cameras move on when a fix is there that saw their panorama alone. A slow board has begun its next fix by then.
    """
    shown_at, shown, sequence = show(board, 1), 1, []
    since = board.mark()
    board.tell("run")
    board.expect("expected that the program starts", r"homing: board jetson", since, 300)
    while True:
        fix = board.wait(f"a fix of panorama {shown}", SILENCE_S, since, fix_of)
        since = board.at
        took = seconds(fix) - shown_at
        if fix["views"] == 4 and took >= SETTLED_S:
            sequence.append(shown)
            if shown == PANORAMAS:
                return sequence
            shown += 1
            shown_at = show(board, shown)
            satellites.position = (truth[shown - 1]["lat"], truth[shown - 1]["lon"])
        else:
            sequence.append(shown - 1 if fix["views"] == 4 and took < 0 and shown > 1 else None)
        require(len(sequence) < PATIENCE + PANORAMAS, f"the board is too slow, or this machine too busy: {sequence}")


def same_drive(there, here, sequence, log):
    """Fix by fix: the emulated board against this machine."""
    apart, shares, probabilities, others = [], [], [], 0
    for at, (a, b, number) in enumerate(zip(there, here, sequence)):
        if number is None:
            log.say(f"fix {at + 1:2}: {a['views']} views while the cameras moved on; not compared")
            continue
        cell, expected = a["cells"][0], b["cells"][0]
        others += cell["id"] != expected["id"]
        probabilities.append(abs(cell["p"] - expected["p"]))
        # Positions come from the last panoramas together.
        known = None not in sequence[max(0, at + 1 - REMEMBERED) : at + 1]
        if known:
            apart.append(kilometres(position(a), position(b)))
            shares.append(apart[-1] / b["radius_km"]["p50"])
        log.say(
            f"fix {at + 1:2}, panorama {number:2}: cell {cell['id']}, expected {expected['id']}; "
            + (f"{apart[-1]:.3f} km apart; " if known else "")
            + f"{a['place']}, {a['country']}; {a['latency_ms']['total']:.0f} ms"
        )
    require(others == 0, f"{others} fixes are in other cells than on this machine")
    require(max(probabilities) < 0.01, f"a cell's probability is {max(probabilities):.4f} off")
    require(len(apart) >= PANORAMAS / 4, f"only {len(apart)} positions can be compared: this machine is too busy")
    # Where two cells weigh nearly the same, roundings decide which is the last of the candidates that the track looks at.
    middle = statistics.median(apart)
    require(middle <= 0.1, f"half of the fixes lie more than {middle:.1f} km from where they lie on this machine")
    require(max(shares) <= 0.5, f"a fix lies {max(shares):.2f} of its 50 % radius from where it lies on this machine")
    log.say(
        f"the same cell in all {len(probabilities)}, probabilities {max(probabilities):.6f} off at most; "
        f"{len(apart)} positions at most {max(apart):.4f} km apart, {max(shares):.2f} of their radius, {middle:.4f} km in the median"
    )


def sentences(board, consumer, log):
    """Each fix of the drive went over the line as it is in the file."""
    fixes = all_fixes(board)
    last = lambda lines: any(line.startswith("$PHOM") and line.split(",")[1] == clock(fixes[-1]) for line in lines)
    consumer.wait("the sentences of the last fix", SILENCE_S, 0, last)
    lines = consumer.lines()
    broken = [line for line in lines if not is_whole(line)]
    require(not broken, f"{len(broken)} sentences are broken, as {broken[:1]}")
    rmc = {line.split(",")[1]: line.split(",") for line in lines if line.startswith("$GPRMC")}
    ours = {line.split(",")[1]: line.split(",") for line in lines if line.startswith("$PHOM")}
    for number, fix in enumerate(fixes, 1):
        at = clock(fix)
        require(at in rmc and at in ours, f"no sentences of fix {number} at {at}; there are those of {sorted(rmc)}")
        said, ours_says = rmc[at], ours[at]
        minutes = lambda text, letter: (int(text[:-7]) + float(text[-7:]) / 60) * (-1 if letter in "SW" else 1)
        there = (minutes(*said[3:5]), minutes(*said[5:7]))
        require(kilometres(there, position(fix)) < 0.001, f"RMC of fix {number} says {there}, the fix {position(fix)}")
        require(said[2] == "A" and said[12].startswith("E"), f"RMC of fix {number} is no estimate: {said}")
        verdict = LETTERS[fix["gnss"]["verdict"]]
        require(ours_says[5:7] == [str(fix["views"]), verdict], f"PHOM of fix {number} says {ours_says}")
    log.say(f"{len(lines)} sentences, all whole; RMC and PHOM of each of the {len(fixes)} fixes say what the fix says")


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
        board.expect(f"GPS {mood}, expected {verdict}", rf"homing: .*verdict .* -> {verdict}", since)
        require((fix["gnss"]["lat"] is None) == (mood == "silent"), f"GPS is {mood}, and the fix has {fix['gnss']}")


def line_stalls(board, consumer, log):
    gaps = lambda fixes: [seconds(b) - seconds(a) for a, b in zip(fixes, fixes[1:])]
    usual = statistics.median(gaps(all_fixes(board)))
    since, fixes = board.mark(), []
    consumer.reading.clear()
    next_fix(board, since, "fixes while the line stalls", lambda fix: fixes.append(fix) or len(fixes) == FULL_LINE)
    came = statistics.median(gaps(fixes))
    log.say(f"expected a fix every {usual:.1f} s although nobody reads, came {FULL_LINE}, {came:.1f} s apart in the median")
    require(came < 1.5 * usual + 1, "the line holds up the fixes")
    mark, made = consumer.mark(), len(all_fixes(board))
    consumer.reading.set()

    def newer(lines):
        clocks = {clock(fix) for fix in all_fixes(board)[made:]}
        return [line for line in lines[1:] if line.startswith("$GPRMC") and line.split(",")[1] in clocks]

    line = consumer.wait("a sentence of a newer fix", SILENCE_S, mark, newer)[0]
    log.say(f"expected the newest fix when somebody reads again, came {line}")
    broken = [line for line in consumer.lines(mark)[1:] if not is_whole(line)]
    require(not broken, f"{len(broken)} sentences are broken after that, as {broken[:1]}")


def run(options):
    folder = options.folder
    log = Log(folder / "console.log")
    log.step("the drive: its pictures, and its fixes on this machine")
    drive = folder / "drive"
    subprocess.run([options.rig, "record", drive, str(SEED), str(PANORAMAS)], check=True)
    truth = [json.loads(line) for line in (drive / "panoramas.jsonl").read_text().splitlines()]
    log.say(f"{PANORAMAS} panoramas of 4 pictures of {(drive / 'size').read_text().strip()} pixels")
    plain = list(range(1, PANORAMAS + 1))
    here = drive_here(options, folder, "before", plain, [line["time_s"] for line in truth])
    off = [kilometres(position(f), (t["lat"], t["lon"])) for f, t in zip(here, truth)]
    log.say(f"{PANORAMAS} fixes on this machine, {statistics.median(off):.0f} km off in the median")
    # Where the vehicle stands when things fail: the fix is narrow, and the truth well inside it.
    radius = lambda i: here[i]["radius_km"]["p95"]
    rest = min((i for i in range(PANORAMAS) if off[i] < radius(i) / 2), key=radius) + 1

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
        for name in CAMERAS:
            seen = board.expect("expected that cameras give what is put in", rf"guest: sees the {name} camera, (\d+)", 0)
            require(seen[1] == "0", f"the {name} camera gives other pixels")

        log.step("the drive on the board: four cameras, GPS in, sentences out")
        gpsd = Gpsd([*options.run, options.board / "usr/sbin/gpsd"], consumer, log)
        sequence = drive_there(board, satellites, truth, log)
        made = all_fixes(board)[: len(sequence)]
        if sequence != plain:
            log.say(f"the board was slow; its fixes saw the panoramas {sequence}")
        # This machine sees what the board saw, at the board's times: the program goes by them.
        here = drive_here(options, folder, "here", [number or 1 for number in sequence], [seconds(fix) for fix in made])
        same_drive(made, here, sequence, log)
        sentences(board, consumer, log)
        known = [position(fix) for fix in made]
        at = lambda report: min(kilometres((report["lat"], report["lon"]), p) for p in known)
        estimated = lambda r: r.get("mode") == 2 and r.get("status") == 5 and "lat" in r and at(r) < 0.01
        report = gpsd.wait("a dead-reckoning fix from gpsd", 60, estimated)
        log.say(f"gpsd says: dead reckoning, two dimensions, {report['lat']:.4f} {report['lon']:.4f}, one of the fixes")
        satellites.position = (truth[rest - 1]["lat"], truth[rest - 1]["lon"])
        show(board, rest)
        since = board.mark()
        heard = lambda fix: 1000 * kilometres((fix["gnss"]["lat"], fix["gnss"]["lon"]), satellites.position)
        both = lambda fix: fix["gnss"]["verdict"] == "agree" and fix["gnss"]["lat"] is not None and heard(fix) < 1
        agreed = next_fix(board, since, "GPS as it was sent, in agreement with the cameras", both)
        log.say(
            f"expected that GPS comes as it was sent and agrees with the cameras, came {heard(agreed):.2f} m off, "
            f"{agreed['gnss']['distance_km']:.0f} km from the cameras' fix"
        )
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
        dropped = r"homing: line +\d+ bursts sent, [1-9]\d* dropped"
        board.expect("expected that sentences were dropped", dropped, since, END_S)
        board.expect("the receiver", r"homing: receiver .*", since)
        for name in CAMERAS:
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
