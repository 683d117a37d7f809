"""Makes country-places.csv: a place for each country of ISO 3166, where its people live rather than its middle.

    npm pack world-atlas@2.0.2 i18n-iso-countries@7.14.0
    pip download --no-deps geopandas==0.14.4
    python3 country-places.py FOLDER > country-places.csv

FOLDER holds what the three unpack to: `countries-10m.json`, `codes.json`, `naturalearth_cities.shp`. The first and the last
are Natural Earth's, which is in the public domain; the codes are facts. A country's place is the middle of the cities that
Natural Earth has at the scale of 1:110 million within it: 243 that are capitals or very large. Where there is none it is the
middle of the country's largest piece of land. What Natural Earth does not have by itself is at the end of this file.
"""

import json
import math
import struct
import sys
from pathlib import Path

# Parts of other countries on that map, and islands that it leaves out.
REST = {
    "BQ": (12.2, -68.3), "BV": (-54.4, 3.4), "CC": (-12.2, 96.8), "CX": (-10.5, 105.6), "GF": (4.9, -52.3),
    "GI": (36.1, -5.4), "GP": (16.2, -61.6), "MQ": (14.6, -61.0), "RE": (-21.1, 55.5), "SJ": (78.2, 15.6),
    "TK": (-9.2, -171.8), "XK": (42.6, 21.0), "YT": (-12.8, 45.2),
}  # fmt: skip


def rings(atlas):
    """Outer rings of each country by its numeric code, as lists of (longitude, latitude)."""
    (sx, sy), (tx, ty) = atlas["transform"]["scale"], atlas["transform"]["translate"]
    arcs = []
    for arc in atlas["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * sx + tx, y * sy + ty))
        arcs.append(points)
    found = {}
    for country in atlas["objects"]["countries"]["geometries"]:
        parts = country.get("arcs", [])
        parts = [parts] if country.get("type") == "Polygon" else parts
        for part in parts:
            ring = []
            for index in part[0]:
                ring += arcs[index] if index >= 0 else arcs[~index][::-1]
            if "id" in country:
                found.setdefault(country["id"], []).append(ring)
    return found


def cities(shapes):
    """Points of a shape file: after its head of 100 bytes, records of 8 bytes of head, a kind and two numbers."""
    for at in range(100, len(shapes), 28):
        yield struct.unpack("<dd", shapes[at + 12 : at + 28])


def inside(ring, x, y):
    odd = False
    for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1]):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            odd = not odd
    return odd


def area_and_middle(ring):
    area = mx = my = 0.0
    for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1]):
        cross = ax * by - bx * ay
        area, mx, my = area + cross / 2, mx + (ax + bx) * cross / 6, my + (ay + by) * cross / 6
    if area == 0:
        return 0.0, ring[0]
    middle = (mx / area, my / area)
    return abs(area) * math.cos(math.radians(middle[1])), middle


def middle_of(points):
    """Of points on the earth: their sum as directions."""
    x = y = z = 0.0
    for longitude, latitude in points:
        a, b = math.radians(longitude), math.radians(latitude)
        x, y, z = x + math.cos(b) * math.cos(a), y + math.cos(b) * math.sin(a), z + math.sin(b)
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def main(folder):
    atlas = rings(json.loads((folder / "countries-10m.json").read_text()))
    towns = list(cities((folder / "naturalearth_cities.shp").read_bytes()))
    places = dict(REST)
    for letters, _, number, _ in json.loads((folder / "codes.json").read_text()):
        if number not in atlas:
            continue
        own = [town for town in towns if any(inside(ring, *town) for ring in atlas[number])]
        largest = max(area_and_middle(ring) for ring in atlas[number])[1]
        places[letters] = middle_of(own or [largest])
    print("# A place for each country: where its people live. Made by country-places.py from Natural Earth (public domain).")
    print("# country,latitude,longitude")
    for letters, (latitude, longitude) in sorted(places.items()):
        print(f"{letters},{latitude:.1f},{longitude:.1f}")


main(Path(sys.argv[1]))
