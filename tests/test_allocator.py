"""Large blocks of memory stay in the process."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from inpaint_hub.allocator import tune_allocator

PROBE = """
import resource
import numpy as np
from inpaint_hub.allocator import tune_allocator

def faults_of(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults_of(8)
assert tune_allocator()
faults_of(16)  # the heap grows until it holds them
print(plain, faults_of(8))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc only")
def test_large_blocks_are_not_mapped_anew_every_time():
    """In a process of its own: the setting would stay with this one."""
    run = {"cwd": Path(__file__).parent.parent, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", PROBE], **run)
    assert done.returncode == 0, done.stderr
    plain, tuned = map(int, done.stdout.split())
    assert tuned < plain / 8


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not tune_allocator()


def test_optimized_pipelines_tune_it_and_plain_ones_do_not(monkeypatch):
    from test_pipelines import tiny_pipeline

    from inpaint_hub.engines import install

    called = []
    monkeypatch.setattr(sys.modules[install.__module__], "tune_allocator", lambda: called.append(1))
    pipe = tiny_pipeline()
    pipe.optimize(engine=None)
    assert not called
    pipe.optimize()
    assert called
    pipe.optimize(engine=None)
