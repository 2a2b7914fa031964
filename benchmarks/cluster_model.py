"""What a million and a billion fills cost: measured for a picture here, the rest is arithmetic.

    python -m benchmarks.cluster_model [--images 24] [--side 512] [--ray]

Pictures go through examples/fill_with_ray.py in this process, and CPU seconds are counted, which do
not depend on what else the machine does. --ray lets two actors of Ray do it, too, and compares.
Every assumption is printed with its source: docs/SCALE.md.
"""

import argparse
import importlib.util
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from benchmarks import measuring
from inpaint_hub.formats import open_picture, save_picture
from inpaint_hub.images import read_masks
from inpaint_hub.masks import box

ROOT = Path(__file__).parent.parent
ROWS = 1000  # of a shard
# name -> (value, unit, where it is from)
ASSUMED = {
    "price_of_core_hour": (
        0.0408,
        "USD",
        "half an m7g.large (2 vCPU, 0.0816 USD/h, us-east-1, June 2026): "
        "factualminds.com/blog/amazon-ec2-on-demand-pricing-instance-families-2026",
    ),
    "price_of_gpu_hour": (1.006, "USD", "g5.xlarge, 4 vCPU, the same page"),
    "gpu_flops": (10e12, "FLOP/s", "what a GPU reaches in these networks; a guess, not measured"),
    "machine_network": (1.25e9, "B/s", "10 Gbit/s for a machine of 16 cores; a guess"),
    "storage_network": (12.5e9, "B/s", "100 Gbit/s for all machines together; a guess"),
    "gets_per_second": (
        5500,
        "1/s",
        "of a prefix: repost.aws/knowledge-center/s3-object-key-naming-pattern",
    ),
    "puts_per_second": (3500, "1/s", "the same page; a shard takes 3: write, copy, remove"),
    "tasks_per_second": (
        354,
        "1/s",
        "ray-project/ray, release/release_logs/2.20.0/benchmarks/many_nodes.json",
    ),
}
WRITES_OF_SHARD, READS_OF_SHARD = 3, 4  # object storage renames by copying; a footer, then pages
CORES_OF_MACHINE = 16


def example():
    """examples/fill_with_ray.py as a module."""
    path = ROOT / "examples" / "fill_with_ray.py"
    specification = importlib.util.spec_from_file_location("fill_with_ray", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def photos(count, side):
    """[(JPEG, mask as PNG)] of the example photos, each at another place, a tenth of it hole."""
    sources = [
        Image.open(ROOT / "examples" / n) for n in ("astronaut.png", "rocket.jpg", "chelsea.png")
    ]
    hole = round(side * 0.1**0.5)
    rows = []
    for i in range(count):
        rng = np.random.default_rng(i)
        centering = tuple(rng.uniform(0.2, 0.8, 2))
        photo = ImageOps.fit(sources[i % 3].convert("RGB"), (side, side), centering=centering)
        left, top = rng.integers(0, side - hole, 2)
        mask = Image.fromarray(box(side, int(left), int(top), hole, hole))
        rows.append([encoded(photo, "JPEG", quality=90), encoded(mask, "PNG")])
    return rows


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def write_shards(folder, rows, shards):
    for i in range(shards):
        part = rows[i::shards]
        columns = {
            name: [{"bytes": row[k], "path": None} for row in part]
            for k, name in enumerate(("image", "mask"))
        }
        pq.write_table(pa.table(columns), folder / f"train-{i:05d}.parquet")


def cpu_seconds(function, items):
    """Mean CPU seconds of function(item), after one that is not counted."""
    function(items[0])
    start = time.process_time()
    for item in items:
        function(item)
    return (time.process_time() - start) / len(items)


def measured(fill, folder, rows, flags):
    """{name: number} for one picture and one worker."""
    own, given = fill.parsed(
        ["--input", str(folder / "in"), "--output", str(folder / "out"), *flags]
    )
    start = time.process_time()
    filler = fill.Filler(own, given)
    started = time.process_time() - start
    shards = fill.shards_of(own)
    filler.fill(shards[0])  # the first pass tries out forms, and fills caches
    reports = [filler.fill(shard) for shard in shards[1:]]
    count = sum(report["filled"] for report in reports)

    def decode(row):
        picture = open_picture(row[0])
        return picture, read_masks(open_picture(row[1]), [picture])[0]

    pictures = [decode(row)[0] for row in rows[:8]]
    with tempfile.TemporaryDirectory() as place:
        encode = cpu_seconds(
            lambda p: save_picture(Image.fromarray(p.pixels), Path(place, "x.png"), {}), pictures
        )
    out = sum(f.stat().st_size for f in (folder / "out").glob("*.parquet"))
    return {
        "start": started,
        "fill": sum(report["cpu_seconds"] for report in reports) / count,
        "decode": cpu_seconds(decode, rows[:8]),
        "encode": encode,
        "bytes_in": sum(len(a) + len(b) for a, b in rows) / len(rows),
        "bytes_out": out / len(rows),
        "count": count,
        "pipe": filler.pipe,
    }


def of_all(cost, pictures, cores, assumed):
    """{"hours", "dollars", "bytes_per_second", "limits"}: so many pictures on so many cores, each
    a worker; limits: {what: share of it that is used}, above 1 where it is what counts."""
    rate = cores / cost["fill"]
    traffic = rate * (cost["bytes_in"] + cost["bytes_out"])
    shards = rate / ROWS
    machines = cores / CORES_OF_MACHINE
    limits = {
        "a machine's network": traffic / machines / assumed["machine_network"],
        "storage's network": traffic / assumed["storage_network"],
        "storage's reads": shards * READS_OF_SHARD / assumed["gets_per_second"],
        "storage's writes": shards * WRITES_OF_SHARD / assumed["puts_per_second"],
        "Ray's tasks": shards / assumed["tasks_per_second"],
    }
    seconds = max(1.0, *limits.values()) * pictures / rate + cost["start"]
    hours = seconds / 3600
    return {
        "hours": hours,
        "dollars": hours * cores * assumed["price_of_core_hour"],
        "bytes_per_second": traffic,
        "limits": limits,
    }


def of_gpus(cost, flops, gpus, pictures, assumed, cores_of_gpu=4):
    """The same for GPUs with so many cores each, without texture and blend, which cores compute:
    networks on the GPU, decoding and encoding on the cores."""
    rest = cost["decode"] + cost["encode"]
    each = min(assumed["gpu_flops"] / flops, cores_of_gpu / rest)
    rate = gpus * each
    traffic = rate * (cost["bytes_in"] + cost["bytes_out"])
    limit = max(1.0, traffic / assumed["storage_network"])
    hours = limit * pictures / rate / 3600
    return {
        "hours": hours,
        "dollars": hours * gpus * assumed["price_of_gpu_hour"],
        "bytes_per_second": traffic,
        "each": each,
        "cores": assumed["gpu_flops"] / flops * rest,
        "limit": limit,
    }


def cores_at_limits(cost, assumed):
    """{what: number of cores at which it is used up}."""
    one = of_all(cost, 1, 1, assumed)["limits"]
    return {what: 1 / share for what, share in one.items() if what != "a machine's network"}


def told(seconds):
    return f"{seconds / 24:.1f} days" if seconds > 48 else f"{seconds:.1f} h"


def report(cost, flops, assumed):
    print(
        f"\nOne picture: {cost['fill']:.3f} CPU s (n = {cost['count']}), of them decoding "
        f"{cost['decode']:.4f}, encoding {cost['encode']:.4f}; {flops / 1e9:.1f} GFLOP; "
        f"{cost['bytes_in'] / 1e3:.0f} KB read, {cost['bytes_out'] / 1e3:.0f} KB written; "
        f"a worker's start {cost['start']:.1f} CPU s.\n"
    )
    rows = []
    for pictures in (10**6, 10**9):
        for cores in (16, 1024, 16384):
            sum_ = of_all(cost, pictures, cores, assumed)
            first = max(sum_["limits"], key=sum_["limits"].get)
            cells = (
                f"{sum_['bytes_per_second'] / 1e9:.3g} GB/s",
                f"{sum_['limits'][first]:.1%} of {first}",
            )
            rows.append(
                [
                    f"{pictures:.0e}",
                    f"{cores} cores",
                    told(sum_["hours"]),
                    f"{sum_['dollars']:,.0f}",
                    *cells,
                ]
            )
        for gpus in (1, 64):
            sum_ = of_gpus(cost, flops, gpus, pictures, assumed)
            cells = (
                f"{sum_['bytes_per_second'] / 1e9:.3g} GB/s",
                f"{sum_['each']:.1f} pictures/s each",
            )
            rows.append(
                [
                    f"{pictures:.0e}",
                    f"{gpus} GPUs, no texture",
                    told(sum_["hours"]),
                    f"{sum_['dollars']:,.0f}",
                    *cells,
                ]
            )
    print(measuring.table(["pictures", "on", "takes", "USD", "traffic", "nearest limit"], rows))
    print(
        "\n"
        + measuring.table(
            ["limit", "used up by cores"],
            [[k, f"{v:,.0f}"] for k, v in cores_at_limits(cost, assumed).items()],
        )
    )
    gpu = of_gpus(cost, flops, 1, 1, assumed)
    print(
        f"\nA GPU as assumed keeps {gpu['cores']:.1f} cores busy with decoding and encoding alone."
    )


def with_ray(fill, folder, cost, flags):
    """Two actors fill the same shards; prints what they took beside what the model says."""
    reports = []
    by_ray = fill.filled_by_ray

    def watched(*arguments):
        for done in by_ray(*arguments):
            reports.append(done)
            yield done

    fill.filled_by_ray = watched
    fill.main(["--input", str(folder / "in"), "--output", str(folder / "by_ray"), *flags])
    # An actor's first shard has its first pass, which the model does not count.
    later = sorted(reports, key=lambda done: done["cpu_seconds"] / done["filled"])[:-2]
    count = sum(done["filled"] for done in later)
    each = sum(done["cpu_seconds"] for done in later) / count
    print(
        f"\nTwo actors of Ray: {each:.3f} CPU s a picture (n = {count}, first shards left out); "
        f"the model, from one process: {cost['fill']:.3f}; ratio {each / cost['fill']:.2f}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--ray", action="store_true", help="compare with two actors")
    for name, (value, unit, source) in ASSUMED.items():
        parser.add_argument(f"--{name}", type=float, default=value, help=f"{unit}; {source}")
    arguments, flags = parser.parse_known_args()
    flags = [*flags, "--seed", "0"]
    fill, assumed = example(), {name: getattr(arguments, name) for name in ASSUMED}
    rows = photos(arguments.images, arguments.side)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "in").mkdir()
        write_shards(folder / "in", rows, arguments.shards)
        cost = measured(fill, folder, rows, flags)
        pipe = cost.pop("pipe")
        picture, mask = (Image.open(io.BytesIO(data)) for data in rows[0])
        flops = measuring.flops(lambda: pipe(picture, mask))
        print(measuring.machine(measuring.torch.device("cpu")))
        report(cost, flops, assumed)
        if arguments.ray:
            with_ray(fill, folder, cost, flags)
    print("\nAssumed:")
    for name, (_, unit, source) in ASSUMED.items():
        print(f"- {name} {assumed[name]:g} {unit}: {source}")


if __name__ == "__main__":
    main()
