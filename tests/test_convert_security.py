"""No checkpoint makes the converter run anything, or allocate more than the file justifies."""

import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from checkpoints import nvidia_generator, nvidia_pickle, rosinality_generator

from inpaint_hub.convert import (
    ConversionError,
    DamagedFileError,
    UnknownLayoutError,
    UnsafeFileError,
    convert,
)
from inpaint_hub.convert import restricted_pickle as rp
from inpaint_hub.convert.allowed_names import ALLOWED, rebuilt_tensor
from inpaint_hub.convert.plain_data import Storage

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import fuzz_convert  # noqa: E402


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def given(tmp_path, data, name="given.pt"):
    if not isinstance(data, bytes):
        stream = io.BytesIO()
        torch.save(data, stream)
        data = stream.getvalue()
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function, arguments",
    [(os.system, ("touch ran",)), (eval, ("open('ran', 'w')",)), (__import__, ("os",))],
)
def test_no_function_of_a_pickle_is_called(tmp_path, monkeypatch, protocol, function, arguments):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"G_ema": Call(function, *arguments)}, protocol)
    with pytest.raises(ConversionError, match=r"system|eval|__import__"):
        convert(given(tmp_path, data))
    with pytest.raises(ConversionError, match=r"system|eval|__import__"):
        convert(given(tmp_path, {"g_ema": Call(function, *arguments)}))
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Call(eval, "open('ran', 'w')")))  # what it would have done
    assert (tmp_path / "ran").exists()


def test_source_code_inside_an_nvidia_pickle_is_only_text(tmp_path):
    data = nvidia_pickle({"G_ema": nvidia_generator(size=8)})
    assert b"source code of this pickle was executed" in data
    assert convert(given(tmp_path, data)).networks["gan"].resolution == 8


def test_only_listed_names_stand_for_anything():
    for name in ALLOWED:
        module = name.rpartition(".")[0]
        assert (
            module.split(".")[0]
            in (
                "torch torch_utils collections dnnlib argparse copyreg copy_reg _codecs builtins "
                "__builtin__ numpy"
            ).split()
        )
    assert not {"builtins.getattr", "builtins.eval", "builtins.exec"} & set(ALLOWED)


@pytest.mark.parametrize(
    "name, words",
    [
        (b"dnnlib.tflib.network\nNetwork", "legacy.py"),
        (b"torch.nn.modules.container\nSequential", "state_dict"),
        (b"torch.jit._pickle\nbuild", "TorchScript"),
    ],
)
def test_other_pickles_are_told_what_to_do(tmp_path, name, words):
    with pytest.raises(UnsafeFileError, match=words):
        convert(given(tmp_path, b"\x80\x02}q\x00X\x05\x00\x00\x00G_emac" + name + b"\n)\x81s."))


def test_a_whole_pickled_model_is_told_to_be_saved_as_a_state_dict(tmp_path):
    with pytest.raises(UnsafeFileError, match="save its weights alone"):
        convert(given(tmp_path, torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("opcode", [b"i", b"o", b"\x82\x01", b"\x83\x01\x00", b"\x96", b"\x97"])
def test_opcodes_of_other_protocols_are_refused(tmp_path, opcode):
    with pytest.raises(ConversionError):
        convert(given(tmp_path, b"\x80\x02(}" + opcode + b"os\nsystem\n."))


# ---- memory ------------------------------------------------------------------------------------


def peak(tmp_path, data):
    """(the error, most bytes Python held while it was found)."""
    file = given(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(ConversionError) as caught:
            convert(file)
        return caught.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [2**31, 2**40, 2**62])
@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d"])
def test_a_string_longer_than_its_file_is_not_allocated(tmp_path, opcode, length):
    error, size = peak(tmp_path, b"\x80\x04" + opcode + struct.pack("<Q", length) + b"ab.")
    assert isinstance(error, DamagedFileError) and size < 5e6


def test_a_far_place_in_the_memo_costs_nothing(tmp_path):
    _, size = peak(tmp_path, b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b".")
    assert size < 5e6


@pytest.mark.parametrize("opcode", [b"}", b"]", b"\x8f", b"(", b"N", b")\x85"])
def test_endless_opcodes_end(tmp_path, monkeypatch, opcode):
    assert rp.MAX_OPCODES <= 1_000_000 and rp.MAX_CONTAINERS <= 100_000
    monkeypatch.setattr(rp, "MAX_OPCODES", 50_000)
    monkeypatch.setattr(rp, "MAX_CONTAINERS", 20_000)
    error, size = peak(tmp_path, b"\x80\x04" + opcode * 60_000 + b".")
    assert isinstance(error, UnsafeFileError) and "more than" in str(error)
    assert size < 8e6


def test_what_is_nested_too_deep_is_refused(tmp_path):
    for data in (
        b"\x80\x04N" + b"\x85" * 5000 + b".",
        b"\x80\x04" + b"]" * 500 + b"a" * 499 + b".",
    ):
        error, _ = peak(tmp_path, data)
        assert isinstance(error, UnsafeFileError) and "nested" in str(error)


def test_a_list_inside_itself_is_refused_or_harmless(tmp_path):
    with pytest.raises(ConversionError):
        convert(given(tmp_path, b"\x80\x04]\x94h\x00a."))


def zipped(entries, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def entries_of(checkpoint):
    stream = io.BytesIO()
    torch.save(checkpoint, stream)
    with zipfile.ZipFile(stream) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.mark.parametrize("entry", ["data/0", "data.pkl"])
def test_a_decompression_bomb_is_refused_before_it_is_inflated(tmp_path, entry):
    entries = entries_of({"g_ema": rosinality_generator(size=8)})
    folder = next(iter(entries)).partition("/")[0]
    entries[f"{folder}/{entry}"] = bytes(50_000_000)
    error, size = peak(tmp_path, zipped(entries, zipfile.ZIP_DEFLATED))
    assert isinstance(error, UnsafeFileError) and "compressed" in str(error)
    assert size < 5e6


def test_entries_that_overlap_are_refused(tmp_path):
    data = bytearray(zipped({"a/data.pkl": b"\x80\x02}.", "a/data/0": bytes(1000)}))
    for place in range(len(data) - 4):
        if data[place : place + 4] == b"PK\x01\x02":  # the directory at the end
            data[place + 20 : place + 28] = struct.pack("<II", 10**9, 10**9)
    with pytest.raises(UnsafeFileError, match="overlap"):
        convert(given(tmp_path, bytes(data)))


def test_a_program_of_torchscript_is_refused(tmp_path):
    entries = {"a/data.pkl": b"\x80\x02}.", "a/code/__torch__.py": b"def f(): pass"}
    with pytest.raises(UnsafeFileError, match="TorchScript"):
        convert(given(tmp_path, zipped(entries)))


def test_a_tensor_that_repeats_its_storage_is_refused(tmp_path):
    state = rosinality_generator(size=8)
    state["style.1.weight"] = torch.zeros(1).expand(100_000, 100_000)
    error, size = peak(tmp_path, {"g_ema": state})
    assert isinstance(error, UnsafeFileError) and "(100000, 100000)" in str(error)
    assert size < 20e6


def test_many_tensors_in_one_storage_are_refused(tmp_path):
    state = rosinality_generator(size=8, w=256, n_mlp=32)
    shared = torch.zeros(256, 256)
    for key in state:
        if state[key].shape == shared.shape:
            state[key] = shared
    error, _ = peak(tmp_path, {"g_ema": state})
    assert isinstance(error, UnsafeFileError) and "share" in str(error)


def test_blocks_for_an_impossible_resolution_are_refused_before_they_are_made(tmp_path):
    state = rosinality_generator(size=8)
    state |= {f"convs.{i}.noise.weight": torch.ones(1) for i in range(60)}
    error, size = peak(tmp_path, {"g_ema": state})
    assert "px" in str(error) and size < 20e6


def test_a_mapping_of_endless_layers_is_refused_before_it_is_made(tmp_path):
    state = rosinality_generator(size=8)
    state["style.99999.weight"] = state["style.1.weight"]
    error, _ = peak(tmp_path, {"g_ema": state})
    assert "99999" in str(error)


def test_a_storage_is_as_long_as_it_says(tmp_path):
    entries = entries_of({"g_ema": rosinality_generator(size=8)})
    name = next(n for n in entries if n.endswith("data/3"))
    entries[name] = entries[name][:-4]
    with pytest.raises(DamagedFileError, match="expected"):
        convert(given(tmp_path, zipped(entries)))


def test_a_tensor_stays_inside_its_storage():
    storage = Storage(torch.float32, 10, lambda: bytes(40))
    assert rebuilt_tensor(storage, 4, (2, 3), (3, 1)).load().shape == (2, 3)
    for offset, shape, stride in [(5, (2, 3), (3, 1)), (0, (2, 3), (9, 1)), (0, (3,), (5,))]:
        with pytest.raises(DamagedFileError, match="beyond"):
            rebuilt_tensor(storage, offset, shape, stride)
    with pytest.raises(ConversionError):
        rebuilt_tensor(storage, -1, (2,), (1,))


@pytest.mark.parametrize("cut", [1, 10, 100, 1000, -100])
@pytest.mark.parametrize("legacy", [False, True])
def test_half_a_download_is_told_from_a_whole_one(tmp_path, cut, legacy):
    stream = io.BytesIO()
    state = {"g_ema": rosinality_generator(size=8)}
    torch.save(state, stream, _use_new_zipfile_serialization=not legacy)
    with pytest.raises((DamagedFileError, UnknownLayoutError)):
        convert(given(tmp_path, stream.getvalue()[:cut]))


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, data, words):
    with pytest.raises(UnknownLayoutError, match=words):
        convert(given(tmp_path, data))


def test_names_in_a_file_cannot_fake_a_message(tmp_path):
    state = rosinality_generator(size=8)
    state["evil\n\x1b[31m`|" + "x" * 10_000] = torch.ones(1)
    with pytest.raises(ConversionError) as caught:
        convert(given(tmp_path, {"g_ema": state}))
    text = str(caught.value)
    assert text.isprintable() and len(text) < 1000


# ---- fuzzing -----------------------------------------------------------------------------------


def test_mutated_files_only_raise_named_errors_and_touch_nothing():
    ends, wrong, growth = fuzz_convert.run(200, seed=2024)
    assert wrong == []
    assert sum(ends.values()) == 200 and ends["converted"] and ends["WrongKeysError"]
    assert growth < fuzz_convert.GROWTH_BYTES
