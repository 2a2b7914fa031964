"""Does the memory of a process grow with the rows of the parquet files it reads pictures from?

    python -m benchmarks.parquet_memory --rows 10000 100000 --reads 400

Files as on the Hub are made by repetition of one picture with another noise; each number of rows is
read in a process of its own, at random places and then once from the front, and the growth of its
resident memory is printed: after the files were opened, and at most while they were read.
"""

import argparse
import io
import multiprocessing
import random
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from inpaint_hub.data.sources import ParquetEntries

DISTINCT, SIDE_PX = 50, 64


def resident_mb():
    """Memory of this process that is its own: pages of mapped files are not."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


def write_rows(folder, rows, rows_per_file=25_000, rows_per_group=100):
    """train-*.parquet of `rows` pictures; returns the files."""
    rng, encoded = np.random.default_rng(0), []
    for _ in range(DISTINCT):
        stream = io.BytesIO()
        pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "PNG")
        encoded.append(stream.getvalue())
    files = []
    for start in range(0, rows, rows_per_file):
        count = min(rows_per_file, rows - start)
        pictures = [{"bytes": encoded[i % DISTINCT], "path": f"{start + i}"} for i in range(count)]
        files.append(folder / f"train-{len(files):05}.parquet")
        table = pa.table({"image": pictures})
        pq.write_table(table, files[-1], row_group_size=rows_per_group)
    return files


def measure(files, reads, seed, results):
    before = resident_mb()
    entries = ParquetEntries(files, "image")
    opened = resident_mb() - before
    places, most = random.Random(seed), 0.0
    for number in range(2 * reads):
        index = places.randrange(len(entries)) if number < reads else number - reads
        assert entries[index].startswith(b"\x89PNG")
        most = max(most, resident_mb() - before)
    size = sum(file.stat().st_size for file in files) / 2**20
    results.put((len(entries), len(entries.groups), size, opened, most))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--reads", type=int, default=400, help="at random, and as many in order")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("fork")
    print("| rows | row groups | files, MB | opened, MB | most while read, MB |")
    print("| --- | --- | --- | --- | --- |")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            writer = context.Process(target=write_rows, args=(Path(folder), rows))
            writer.start()  # what writing took is not this process's, nor the reader's
            writer.join()
            results = context.Queue()
            files = sorted(Path(folder).glob("*.parquet"))
            child = context.Process(
                target=measure, args=(files, arguments.reads, arguments.seed, results)
            )
            child.start()
            found = results.get()
            child.join()
            print("| {} | {} | {:.0f} | {:.1f} | {:.1f} |".format(*found), flush=True)


if __name__ == "__main__":
    main()
