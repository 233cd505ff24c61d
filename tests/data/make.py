"""Makes the files beside it: one table in every format that a source can have.

Written with pyarrow and Python's own library, so that what the tests read was
not written by the program under test. Run it with the packages of
../requirements.txt, in this folder.
"""

import datetime
import gzip
import json

import pyarrow as pa
from pyarrow import csv, feather, parquet

ROWS = [
    # id, station, temperature, measured_on, checked
    (1, "Reykjavík", -1.5, datetime.date(2024, 1, 31), True),
    (2, "Port Stanley, West", 7.25, datetime.date(2024, 2, 29), False),
    (3, 'the "old" mill', None, datetime.date(2024, 3, 1), True),
    (4, "Reykjavík", 2.5, datetime.date(2024, 3, 2), True),
    (5, "Port Stanley, West", 8.75, datetime.date(2023, 12, 24), False),
    (9007199254740993, "Reykjavík", 0.0, datetime.date(2024, 3, 3), False),
]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("station", pa.string()),
        ("temperature", pa.float64()),
        ("measured_on", pa.date32()),
        ("checked", pa.bool_()),
    ]
)

columns = list(zip(*ROWS))
table = pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA)], schema=SCHEMA)

parquet.write_table(table, "measurements.parquet", compression="zstd")
feather.write_feather(table, "measurements.arrow", compression="lz4")
csv.write_csv(table, "measurements.csv")
with open("measurements.jsonl", "w") as file:
    for row in ROWS:
        file.write(json.dumps(dict(zip(SCHEMA.names, row)), default=str, ensure_ascii=False) + "\n")
for name in ["measurements.csv", "measurements.jsonl"]:
    with open(name, "rb") as plain, open(f"{name}.gz", "wb") as packed:
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as target:
            target.write(plain.read())

# A file that says of itself, in the eight bytes before its only compressed
# buffer, that it is 2**60 bytes long when unpacked.
numbers = pa.table({"n": pa.array(range(1_000), pa.int64())})
feather.write_feather(numbers, "endless.arrow", compression="lz4", chunksize=1_000)
with open("endless.arrow", "r+b") as file:
    length = file.read().index((8 * 1_000).to_bytes(8, "little"))
    file.seek(length)
    file.write((1 << 60).to_bytes(8, "little"))
