"""Fill any number of pictures on a Ray cluster, or on this machine: docs/SCALE.md.

    python examples/fill_with_ray.py --input DATA --output FILLED --num_workers 2 --seed 0

DATA is a folder (of this machine, or of any storage that fsspec knows, as s3://bucket/faces) with
parquet files in the Hub's layout, WebDataset shards (.tar) or pictures. FILLED gets a parquet file
for each shard. Flags that are not listed here are those of `python -m inpaint_hub` (--model,
--seed, --texture, --batch_size, ...), and a row's result is, byte for byte, the file that it
writes.

A shard is the unit of everything: Ray Data hands shards to actors, each with a pipeline of its
own, and hands them out again when an actor or a machine dies; a result is written under another
name and renamed when it is whole; what is there is not filled again.
"""

import argparse
import hashlib
import io
import json
import posixpath
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from inpaint_hub import folders, provenance
from inpaint_hub.__main__ import build_parser, ready
from inpaint_hub.allocator import tune_allocator
from inpaint_hub.formats import open_picture, openable_endings
from inpaint_hub.masks import MIXTURES, mask_in_band

CHUNK = 64  # rows that are held, filled and written at once: a row group of the result
SETTINGS = "_settings.json"  # what the results of a folder were made with
PARTIAL = ".partial"
# The package's flags that a result does not depend on, or that are not used here.
UNSAID = {"image", "mask", "output", "device", "batch_size", "overwrite", "tune_allocator"}
UNSAID |= {"local_files_only", "show_provenance"}
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
RESULT = {
    "key": pa.string(),  # the row's place, or its name in the shard
    "image": PICTURE,  # filled; null where `error` says why
    "mask": PICTURE,  # what was filled, where a rule drew it
    "provenance": pa.string(),  # JSON, as inpaint_hub.provenance.describe
    "notes": pa.list_(pa.string()),
    "error": pa.string(),
}
# So that the datasets library, and the Hub's viewer, show pictures.
FEATURES = {name: {"_type": "Image"} for name in ("image", "mask")}
FEATURES |= {"notes": {"_type": "List", "feature": {"_type": "Value", "dtype": "string"}}}
FEATURES |= {n: {"_type": "Value", "dtype": "string"} for n in RESULT if n not in FEATURES}


class Row(NamedTuple):
    """picture, mask: encoded bytes, or None; problem: why there is no mask; unread: why there is no
    picture; other: the row's other columns."""

    key: str
    picture: bytes | None
    mask: bytes | None
    problem: str = "the row has no mask"
    unread: str = "the row has no picture"
    other: dict | None = None


def build_own_parser():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="All other flags: python -m inpaint_hub --help",
        allow_abbrev=False,  # a shortened flag may be one of the package's
    )
    parser.add_argument("--input", required=True, help="folder, file or pattern; or an fsspec URL")
    parser.add_argument("--output", required=True, help="folder for the parquet files; or a URL")
    parser.add_argument("--image_column", default="image", help="of parquet (default: image)")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument(
        "--mask_column", default="mask", help="of parquet; a tar file's *.MASK.png (default: mask)"
    )
    masks.add_argument("--mask", help="one mask file for all, or for pictures a folder of masks")
    masks.add_argument(
        "--mask_rule",
        metavar="KIND:LOW-HIGH",
        type=mask_rule,
        help=f"draw a hole into each picture by the seed and the row's key: {', '.join(MIXTURES)}; "
        "LOW to HIGH percent of the picture, as boxes:10-30",
    )
    parser.add_argument("--shard_size", type=int, default=1000, help="pictures of a folder's shard")
    parser.add_argument(
        "--row_groups_per_shard",
        type=int,
        default=0,
        help="divide large parquet files: so many row groups each (default: whole files)",
    )
    parser.add_argument("--num_workers", type=int, default=2, help="actors, each with a pipeline")
    parser.add_argument("--num_cpus", type=float, default=1, help="cores, and threads, of an actor")
    parser.add_argument("--num_gpus", type=float, default=0, help="GPUs of an actor")
    parser.add_argument("--address", help="of a running cluster, as auto (default: start here)")
    parser.add_argument(
        "--object_store_mb", type=int, default=200, help="of a Ray started here; little is kept"
    )
    return parser


def mask_rule(text):
    kind, _, band = text.partition(":")
    low, _, high = band.partition("-")
    try:
        rule = [kind, float(low) / 100, float(high) / 100]
    except ValueError:
        rule = [kind, 1, 0]
    if kind not in MIXTURES or not 0 < rule[1] < rule[2] <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no rule; expected KIND:LOW-HIGH, as boxes:10-30, of {list(MIXTURES)}"
        )
    return rule


def parsed(argv):
    """(the flags of this file, those of the package).

    Raises: SystemExit for flags that neither has.
    """
    own, rest = build_own_parser().parse_known_args(argv)
    unused = ["--image", "-", "--mask", "-", "--output", "-"]
    return own, build_parser().parse_args([*unused, *rest])


def shards_of(own):
    """[{"kind", "files", "name", ...}]: what is filled as one, in a row; `name` is that of its
    result. They are plain values, a few hundred bytes each.

    Raises: FileNotFoundError where there is nothing to fill; ValueError for masks that fit nothing.
    """
    system, root = fsspec.core.url_to_fs(own.input)
    if any(c in root for c in "*?["):
        files, root = sorted(system.glob(root)), posixpath.dirname(root.split("*")[0])
    elif system.isfile(root):
        files, root = [root], posixpath.dirname(root)
    else:
        files = sorted(system.find(root)) if system.exists(root) else []
    parquet = [f for f in files if f.endswith(".parquet")]
    tars = [f for f in files if f.endswith(".tar")]
    if parquet or tars:
        if own.mask and not fsspec.core.url_to_fs(own.mask)[0].isfile(own.mask):
            raise ValueError(f"--mask {own.mask!r} is no file; expected one mask file for all rows")
        whole = [(f, "parquet") for f in parquet] + [(f, "tar") for f in tars]
        return [s for f, kind in whole for s in parts_of(system, root, f, kind, own)]
    endings = openable_endings()
    pictures = [f for f in files if posixpath.splitext(f)[1].lower() in endings]
    if not pictures:
        raise FileNotFoundError(
            f"--input {own.input!r} holds no parquet file, no .tar file and no picture; check the "
            "path, and for a URL that its fsspec package is installed (s3fs, gcsfs, ...)"
        )
    return list(shards_of_pictures(pictures, root, own))


def parts_of(system, root, file, kind, own):
    """The shards of one file, each named as it lies below `root`."""
    name = posixpath.splitext(posixpath.relpath(file, root))[0]
    groups = own.row_groups_per_shard
    if kind == "tar" or not groups:
        return [{"kind": kind, "files": [file], "name": f"{name}.parquet"}]
    with system.open(file, "rb") as opened:
        count = pq.ParquetFile(opened).num_row_groups
    return [
        {
            "kind": kind,
            "files": [file],
            "name": f"{name}-groups-{first:05d}.parquet",
            "groups": list(range(first, min(first + groups, count))),
        }
        for first in range(0, count, groups)
    ]


def shards_of_pictures(pictures, root, own):
    """Shards of --shard_size files. The names of the files are part of the shard's: a folder that
    has changed since makes other shards, and nothing of it is taken for done."""
    masks = [None] * len(pictures)
    if own.mask and not own.mask_rule:
        system, place = fsspec.core.url_to_fs(own.mask)
        if not system.isfile(place):
            endings = openable_endings()
            there = [f for f in sorted(system.find(place)) if Path(f).suffix.lower() in endings]
            masks = folders.masks_for(*([PurePosixPath(f) for f in x] for x in (pictures, there)))
            masks = [[str(mask) if mask else None, problem] for mask, problem in masks]
    for first in range(0, len(pictures), own.shard_size):
        files = pictures[first : first + own.shard_size]
        names = [posixpath.relpath(f, root) for f in files]
        digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
        yield {
            "kind": "pictures",
            "files": files,
            "keys": names,
            "masks": masks[first : first + own.shard_size],
            "name": f"pictures-{first // own.shard_size:06d}-{digest[:8]}.parquet",
        }


def content(value):
    """Bytes of a column's value: bytes, or the Hub's {bytes, path}; None where there are none."""
    return value.get("bytes") if isinstance(value, dict) else value


def rows_of(shard, system, own):
    """Row after row of a shard.

    Raises: OSError, ValueError, tarfile.TarError for a shard that cannot be read.
    """
    if shard["kind"] == "parquet":
        return rows_of_parquet(shard, system, own)
    return rows_of_tar(shard, system, own) if shard["kind"] == "tar" else rows_of_files(shard, own)


def rows_of_parquet(shard, system, own):
    with system.open(shard["files"][0], "rb") as opened:
        file = pq.ParquetFile(opened)
        wanted = [own.image_column] + ([own.mask_column] if reads_masks(own) else [])
        if missing := set(wanted) - set(file.schema_arrow.names):
            raise ValueError(
                f"{shard['files'][0]} has no column {sorted(missing)}; it has "
                f"{file.schema_arrow.names}; name one with --image_column or --mask_column, or "
                "give --mask or --mask_rule"
            )
        groups = shard.get("groups")
        number = sum(file.metadata.row_group(i).num_rows for i in range(groups[0] if groups else 0))
        stem = posixpath.splitext(posixpath.basename(shard["files"][0]))[0]
        for table in file.iter_batches(CHUNK, row_groups=groups):
            for row in table.to_pylist():
                picture, mask = (
                    row.pop(name, None) for name in (own.image_column, own.mask_column)
                )
                problem = f"the row's column {own.mask_column!r} is empty"
                key = f"{stem}:{number}"
                yield Row(key, content(picture), content(mask), problem, other=row)
                number += 1


def rows_of_tar(shard, system, own):
    """WebDataset: files of one name up to its first dot are a row, the rest of it is the column."""
    endings = openable_endings()
    ending_of_masks = f"{own.mask_column}."

    def row(key, columns):
        masks = [v for k, v in columns.items() if k.startswith(ending_of_masks)]
        named = [v for k, v in columns.items() if k.startswith(f"{own.image_column}.")]
        plain = [v for k, v in columns.items() if f".{k.lower()}" in endings]
        problem = f"the sample has no file {key}.{own.mask_column}.png"
        return Row(key, *((x or [None])[0] for x in (named or plain, masks)), problem)

    with system.open(shard["files"][0], "rb") as opened, tarfile.open(None, "r|*", opened) as tar:
        last, columns = None, {}
        for member in tar:
            if not member.isfile():
                continue
            folder, name = posixpath.split(member.name)
            stem, _, column = name.partition(".")
            key = posixpath.join(folder, stem)
            if key != last and columns:
                yield row(last, columns)
                columns = {}
            last = key
            columns[column] = tar.extractfile(member).read()
        if columns:
            yield row(last, columns)


def rows_of_files(shard, own):
    system = fsspec.core.url_to_fs(own.input)[0]
    of_masks = fsspec.core.url_to_fs(own.mask)[0] if own.mask else None
    for file, key, found in zip(shard["files"], shard["keys"], shard["masks"]):
        mask, problem = found or (None, "there is no mask; give --mask or --mask_rule")
        try:
            picture = system.cat_file(file)
            mask = of_masks.cat_file(mask) if mask else None
        except OSError as error:  # one file's fault must not cost the others
            yield Row(key, None, None, unread=f"{type(error).__name__}: {error}")
        else:
            yield Row(key, picture, mask, problem)


def reads_masks(own):
    return not own.mask and not own.mask_rule


def drawn(row, rule, seed):
    """A PNG of the hole that --mask_rule draws into a row's picture."""
    kind, low, high = rule
    height, width = open_picture(row.picture).pixels.shape[:2]
    rng = np.random.default_rng((seed or 0, zlib.crc32(row.key.encode("utf-8", "replace"))))
    buffer = io.BytesIO()
    Image.fromarray(mask_in_band((width, height), low, high, rng, kind)).save(buffer, "PNG")
    return buffer.getvalue()


def filled_rows(filler, rows, mask=None):
    """[{column of RESULT: value}] of a chunk of rows, by the package's own folders.fill_files in a
    folder that is gone afterwards. filler: a Filler; mask: bytes of the mask of all."""
    own, given = filler.own, filler.given
    with tempfile.TemporaryDirectory(prefix="inpaint_hub_") as folder:
        folder, errors, jobs, masks = Path(folder), {}, {}, {}
        for index, row in enumerate(rows):
            try:
                if not row.picture:
                    raise ValueError(row.unread)
                masks[index] = mask or row.mask
                if own.mask_rule:
                    masks[index] = drawn(row, own.mask_rule, given.seed)
                hole = folder / f"mask-{index}" if masks[index] else None
                if hole:
                    hole.write_bytes(masks[index])
                source = folder / f"row-{index}{PurePosixPath(row.key).suffix}"
                source.write_bytes(row.picture)
                target = folder / "filled" / f"{index}.png"
                jobs[index] = folders.Job(source, hole, target, row.problem)
            except Exception as error:  # whatever a decoder raises: the row is kept, and says so
                errors[index] = f"{type(error).__name__}: {error}"
        report = folders.fill_files(
            filler.pipe,
            list(jobs.values()),
            batch_size=given.batch_size,
            invert_mask=given.invert_mask,
            seed=given.seed,
            options=filler.options,
            concat=given.concat,
        )

        def told(job, lines):
            start = f"{job.picture}: "
            return [x[len(start) :].replace(f"{folder}/", "") for x in lines if x.startswith(start)]

        results = []
        for index, row in enumerate(rows):
            result = {**(row.other or {}), **dict.fromkeys(RESULT), "key": row.key, "notes": []}
            if own.mask_rule and masks.get(index):
                result["mask"] = {"bytes": masks[index], "path": None}
            if index in jobs:
                job = jobs[index]
                written = [t for t in (job.target, job.target.with_suffix(".tif")) if t.is_file()]
                if written:
                    name = f"{PurePosixPath(row.key.replace(':', '-')).stem}{written[0].suffix}"
                    result["image"] = {"bytes": written[0].read_bytes(), "path": name}
                    result["provenance"] = filler.notes
                else:
                    errors[index] = "; ".join(told(job, [*report.failures, *report.empty]))
                result["notes"] = told(job, report.notes)
            result["error"] = errors.get(index)
            results.append(result)
        return results


def schema_of(shard, system, own):
    """Of a shard's result: its own columns behind those of RESULT, which take the places of ones
    of the same name."""
    fields = [pa.field(name, kind) for name, kind in RESULT.items()]
    if shard["kind"] == "parquet":
        with system.open(shard["files"][0], "rb") as opened:
            read = {own.image_column, own.mask_column, *RESULT}
            fields += [f for f in pq.read_schema(opened) if f.name not in read]
    told = {"info": {"features": FEATURES}} if len(fields) == len(RESULT) else None
    return pa.schema(fields, {"huggingface": json.dumps(told)} if told else None)


def fill_shard(filler, shard):
    """Fill a shard's rows and put its result in place, whole; returns {"filled", "failed"}."""
    own = filler.own
    system = fsspec.core.url_to_fs(own.input)[0]
    output, root = fsspec.core.url_to_fs(own.output)
    final = posixpath.join(root, shard["name"])
    partial = posixpath.join(posixpath.dirname(final), f".{uuid4().hex}{PARTIAL}")
    mask = None
    if own.mask and not any(shard.get("masks", [])):
        with fsspec.open(own.mask, "rb") as file:
            mask = file.read()
    output.makedirs(posixpath.dirname(final), exist_ok=True)
    counts, schema = {"filled": 0, "failed": 0}, schema_of(shard, system, own)
    try:
        with output.open(partial, "wb") as file, pq.ParquetWriter(file, schema) as writer:
            chunk = []
            for row in rows_of(shard, system, own):
                chunk.append(row)
                if len(chunk) == CHUNK:
                    write_chunk(filler, chunk, mask, writer, counts)
                    chunk = []
            write_chunk(filler, chunk, mask, writer, counts)
        output.mv(partial, final)
    except BaseException:
        if output.exists(partial):
            output.rm(partial)
        raise
    return counts


def write_chunk(filler, chunk, mask, writer, counts):
    if not chunk:
        return
    results = filled_rows(filler, chunk, mask)
    writer.write_table(pa.Table.from_pylist(results, writer.schema))
    failed = sum(result["error"] is not None for result in results)
    counts["failed"] += failed
    counts["filled"] += len(results) - failed


def settings_of(own, given):
    """What a result depends on besides its row."""
    kept = {name: value for name, value in vars(given).items() if name not in UNSAID}
    kept |= {"engine": given.engine or "eager", "mask": own.mask}
    kept |= {name: getattr(own, name) for name in ("mask_rule", "image_column", "mask_column")}
    return kept | {name: getattr(own, name) for name in ("shard_size", "row_groups_per_shard")}


def check_settings(own, given):
    """Notes in the output what it is made with, and removes what killed workers left half-written.

    Raises: ValueError where results of other settings lie there.
    """
    system, root = fsspec.core.url_to_fs(own.output)
    system.makedirs(root, exist_ok=True)
    file, now = posixpath.join(root, SETTINGS), settings_of(own, given)
    if system.exists(file) and not given.overwrite:
        then = json.loads(system.cat_file(file))
        changed = [f"{k} {then.get(k)!r} -> {now[k]!r}" for k in now if then.get(k) != now[k]]
        if changed:
            raise ValueError(
                f"--output {own.output!r} holds results of other settings ({'; '.join(changed)}); "
                "give the same ones, another folder, or --overwrite"
            )
    for left in system.find(root):
        if left.endswith(PARTIAL):
            system.rm(left)
    system.pipe_file(file, json.dumps(now, indent=1).encode())


class Filler:
    """What an actor of Ray Data does: one pipeline, and one shard after another."""

    def __init__(self, own, given):
        self.own, self.given = own, given
        if given.tune_allocator:
            tune_allocator()
        device = given.device
        if device == "auto" and not own.num_gpus:
            device = "cpu"  # a GPU that is not this actor's
        self.pipe, self.options = ready(given, device, "eager")
        told = {name: getattr(given, name) for name in vars(given) if name not in UNSAID}
        told = {n: v for n, v in told.items() if v or n == "seed"}
        told |= {"engine": given.engine or "eager"}
        for name in ("model", "init_encoder"):
            told.pop(name, None)  # folders of this machine are nobody's business
        self.notes = json.dumps(provenance.describe(self.pipe, **told))

    def __call__(self, batch):
        done = [self.fill(json.loads(text)) for text in batch["shard"]]
        return {key: np.array([each[key] for each in done]) for key in done[0]}

    def fill(self, shard):
        start, computed, problem = time.perf_counter(), time.process_time(), ""
        counts = {"filled": 0, "failed": 0}
        if self.given.overwrite or not is_done(shard, self.own):  # a task may come a second time
            try:
                counts = fill_shard(self, shard)
            except (OSError, ValueError, tarfile.TarError) as error:
                problem = f"{type(error).__name__}: {error}"
        seconds = {"seconds": time.perf_counter() - start}
        seconds["cpu_seconds"] = time.process_time() - computed
        return {"name": shard["name"], "problem": problem, **seconds, **counts}


def is_done(shard, own):
    system, root = fsspec.core.url_to_fs(own.output)
    return system.exists(posixpath.join(root, shard["name"]))


def done_shards(own):
    """Names of the results that are there, by one listing."""
    system, root = fsspec.core.url_to_fs(own.output)
    return {posixpath.relpath(file, root) for file in system.find(root)}


def filled_by_ray(wanted, own, given):
    """{"name", "filled", "failed", "seconds", "cpu_seconds", "problem"} of shard after shard, as
    they finish."""
    import ray

    options = {"address": own.address} if own.address else {}
    if not own.address:
        options |= {"object_store_memory": own.object_store_mb << 20, "include_dashboard": False}
        options |= {"num_cpus": max(1, round(own.num_workers * own.num_cpus)) + 1}
    ray.init(**options, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = [{"shard": json.dumps(shard)} for shard in wanted]
        shards = ray.data.from_items(items, override_num_blocks=min(len(items), 10_000))
        done = shards.map_batches(
            Filler,
            fn_constructor_args=(own, given),
            compute=ray.data.ActorPoolStrategy(size=own.num_workers),
            batch_size=1,
            num_cpus=own.num_cpus,
            num_gpus=own.num_gpus,
        )
        yield from done.iter_rows()
    finally:
        ray.shutdown()


def main(argv=None):
    """Exit status 0 when every row was filled, 1 when some were not (their `error` says why) or a
    shard could not be read (the next run tries it again), 2 for bad arguments."""
    from tqdm.auto import tqdm

    own, given = parsed(argv)
    try:
        shards = shards_of(own)
        check_settings(own, given)
    except (OSError, ValueError, ImportError) as error:
        build_own_parser().error(str(error))
    there = set() if given.overwrite else done_shards(own)
    wanted = [shard for shard in shards if shard["name"] not in there]
    start, filled, failed, computed, problems = time.perf_counter(), 0, 0, 0.0, []
    with tqdm(total=len(shards), initial=len(shards) - len(wanted), unit="shard") as bar:
        for done in filled_by_ray(wanted, own, given) if wanted else ():
            filled, failed = filled + int(done["filled"]), failed + int(done["failed"])
            computed += float(done["cpu_seconds"])
            if done["problem"]:
                problems.append(f"{done['name']}: {done['problem']}")
            bar.set_postfix(filled=filled, failed=failed)
            bar.update()
    seconds = time.perf_counter() - start
    for problem in problems:
        print(f"not read: {problem}", file=sys.stderr)
    print(
        f"{filled} rows filled, {failed} with an error, in {len(wanted)} of {len(shards)} shards; "
        f"{filled / seconds:.2f} images/s with {own.num_workers} workers, "
        f"{computed / max(filled + failed, 1):.3f} CPU s a row",
        file=sys.stderr,
    )
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main())
