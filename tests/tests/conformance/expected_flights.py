"""The figures of the flights, without any of the code under test."""

import collections
import csv
import gzip
import json
import sys

flights, delays = collections.Counter(), collections.defaultdict(list)
with gzip.open(sys.argv[1], "rt", newline="") as file:
    rows = csv.DictReader(file)
    for row in rows:
        flights[row["origin"]] += 1
        if row["dep_delay"] != "NA":
            delays[row["origin"]].append(int(row["dep_delay"]))
total = sum(flights.values())
print(json.dumps({
    "flights": total,
    "without_dep_delay": total - sum(map(len, delays.values())),
    "columns": len(rows.fieldnames),
    "origins": {
        origin: {"flights": flights[origin], "average_dep_delay": sum(delays[origin]) / len(delays[origin])}
        for origin in flights
    },
}))
