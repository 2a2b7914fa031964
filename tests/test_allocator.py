"""Large blocks of memory stay in the process."""

import platform
import resource

import pytest
import torch

from inpaint_hub.allocator import tune_allocator


def faults_of(megabytes, times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(megabytes << 18).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc only")
def test_large_blocks_are_not_mapped_anew_every_time():
    assert tune_allocator()
    faults_of(64, 16)  # the heap grows until it holds them
    assert faults_of(64, 8) < 64 * 256  # pages of one block; mapped anew it would be eight times


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not tune_allocator()
