"""What a run tells: trackers, means of the logged terms, speed."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate.tracking import GeneralTracker, on_main_process
from tqdm.auto import tqdm


class JSONLinesTracker(GeneralTracker):
    """One JSON object per logged step in <logging_dir>/metrics.jsonl; a resumed run appends."""

    name = "jsonl"
    requires_logging_directory = True

    def __init__(self, run_name, logging_dir):
        # No on_main_process here: before there is an Accelerator, it would settle for one process.
        super().__init__()
        self.file = Path(logging_dir) / "metrics.jsonl"

    @property
    def tracker(self):
        return self.file

    @on_main_process
    def store_init_configuration(self, values):
        self.file.parent.mkdir(parents=True, exist_ok=True)
        (self.file.parent / "config.json").write_text(
            json.dumps(values, indent=1), encoding="utf-8"
        )

    def forget_after(self, step):
        """Drop the lines a killed run wrote after the checkpoint it is resumed from."""
        if not self.file.is_file():
            return
        kept, dropped = [], 0
        for line in self.file.read_bytes().split(b"\n")[:-1]:  # the last is empty, or torn
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + b"\n")
            except (ValueError, KeyError, TypeError, RecursionError):
                dropped += 1
        self.file.write_bytes(b"".join(kept))
        if dropped:
            tqdm.write(f"Dropped {dropped} damaged lines of {self.file}.")

    @on_main_process
    def log(self, values, step=None, **kwargs):
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **values}) + "\n")


def make_trackers(names, run_name, logging_dir):
    """Comma-separated names -> what Accelerator(log_with=...) takes."""
    ours = {"jsonl": lambda: JSONLinesTracker(run_name, logging_dir)}
    return [ours[n]() if n in ours else n for n in map(str.strip, names.split(",")) if n]


class TermLogs:
    """Means of the logged values over steps, micro-batches and processes."""

    def __init__(self):
        self.sums, self.counts = {}, {}

    def add(self, values):
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, accelerator):
        """{name: float}; every process takes part."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        stacked = torch.stack([mean.to(accelerator.device) for mean in means.values()])
        return dict(zip(means, accelerator.reduce(stacked, "mean").tolist()))


class Clock:
    """Pictures per second and the share of time spent waiting for data, since the last look; of a
    stream also decoding's share of the time that loading takes, wherever it is done."""

    def __init__(self, images_per_step):
        self.images_per_step = images_per_step
        self.whole = {"read": 0.0, "decode": 0.0}  # of the run's loading, in seconds
        self.restart()

    def restart(self):
        self.start, self.waited, self.steps = time.perf_counter(), 0.0, 0
        self.loading = {"read": 0.0, "decode": 0.0}

    def next(self, batches):
        start = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - start
        for part, seconds in batch.pop("seconds", {}).items():
            self.loading[part] += seconds
            self.whole[part] += seconds
        return batch

    def told(self):
        """A sentence on what loading took, or "" where that is not known."""
        if not (seconds := sum(self.whole.values())):
            return ""
        return (
            f"Loading took {seconds:.1f} s of this process and its workers: "
            f"{self.whole['decode'] / seconds:.0%} decoding, the rest reading."
        )

    @contextmanager
    def stopped(self):
        """Time spent inside does not count."""
        start = time.perf_counter()
        yield
        self.start += time.perf_counter() - start

    def read(self):
        seconds = time.perf_counter() - self.start
        values = {
            "images_per_second": self.steps * self.images_per_step / seconds,
            "data_wait_share": self.waited / seconds,
        }
        if loading := sum(self.loading.values()):
            values["decode_share"] = self.loading["decode"] / loading
        self.restart()
        return values
