"""Runs TPC-H queries on another engine, one after the other, as it is told.

    peer.py ENGINE DATA SQL RESULTS THREADS MEMORY_BYTES

ENGINE is `duckdb` or `polars`; DATA is the folder with the Parquet files, SQL
that of the queries, RESULTS that to write to. The first line that it prints
tells its version. For each line of its standard input, the name of a query
such as `q01`, it runs the query, writes the result as Parquet, and prints the
seconds that both took together and the most memory that the process has held,
or the error. It ends with its standard input.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def tell(**what):
    print(json.dumps(what), flush=True)


def with_duckdb(data, sql, results, threads, memory_bytes):
    import duckdb

    connection = duckdb.connect(
        config={"threads": threads, "memory_limit": f"{memory_bytes // 1024}KiB"}
    )
    for table in TABLES:
        connection.execute(
            f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{data / table}.parquet')"
        )

    def run(name):
        query = (sql / f"{name}.sql").read_text()
        target = results / f"{name}.parquet"
        connection.execute(f"COPY (\n{query}\n) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")

    return duckdb.__version__, run


def with_polars(data, _sql, results, threads, _memory_bytes):
    # Read when the package is loaded. It has no limit of memory.
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl
    import polars.selectors as cs

    import polars_q01_to_q11
    import polars_q12_to_q22

    queries = {**vars(polars_q01_to_q11), **vars(polars_q12_to_q22)}

    def run(name):
        # Its products of decimals keep the digits of their factors and no
        # more, which would make money inexact; numbers with a floating point
        # are also what the authors of Polars measure with.
        tables = {
            table: pl.scan_parquet(data / f"{table}.parquet").with_columns(cs.decimal().cast(pl.Float64))
            for table in TABLES
        }
        result = queries[name](tables).collect(engine="streaming")
        result.write_parquet(results / f"{name}.parquet", compression="zstd")

    return pl.__version__, run


def main():
    engine, data, sql, results, threads, memory_bytes = sys.argv[1:]
    start = {"duckdb": with_duckdb, "polars": with_polars}[engine]
    version, run = start(Path(data), Path(sql), Path(results), int(threads), int(memory_bytes))
    tell(version=version)
    for line in sys.stdin:
        begun = time.perf_counter()
        try:
            run(line.strip())
        except Exception as error:  # Whatever it is, it is told, and the next query may go well.
            tell(error=f"{type(error).__name__}: {error}")
            continue
        seconds = time.perf_counter() - begun
        # Linux counts in KiB (getrusage(2)).
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        tell(seconds=seconds, peak_bytes=peak_bytes)


if __name__ == "__main__":
    main()
