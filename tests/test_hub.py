"""Models on disk and on the Hub: complete, strict, in the dtype asked for."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model

from inpaint_hub import (
    HubModel,
    InvertFillEncoder,
    PSPEncoder,
    PSPPipeline,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    StyleGAN2Pipeline,
    WPlusSearchPipeline,
    load_pipeline,
)
from inpaint_hub.hub import download_weights

ROOT = Path(__file__).parent.parent
SMALL = {"backbone": "small", "backbone_width": 8, "style_channels": 8}
MODELS = {
    StyleGAN2Generator: {"resolution": 32, "z_dim": 8, "w_dim": 8, "channel_base": 64},
    StyleGAN2Discriminator: {"resolution": 32, "channel_base": 64},
    PSPEncoder: {"resolution": 32, "w_dim": 8, **SMALL},
    InvertFillEncoder: {"resolution": 32, "w_dim": 8, "channel_base": 64, **SMALL},
}


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return PSPEncoder(**MODELS[PSPEncoder])


@pytest.mark.parametrize("cls", MODELS)
def test_every_model_survives_the_round_trip(cls, tmp_path):
    model = cls(**MODELS[cls])
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    loaded = cls.from_pretrained(tmp_path)
    assert same(model, loaded)
    assert loaded.config == model.config
    assert MODELS[cls].items() <= json.loads((tmp_path / "config.json").read_text()).items()
    assert not loaded.training


def test_variants_and_shards_lie_beside_the_plain_file(model, tmp_path):
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, variant="ema")
    model.save_pretrained(tmp_path, variant="sharded", max_shard_size="10KB")
    assert len(list(tmp_path.glob("model.sharded-*-of-*.safetensors"))) > 1
    for variant in (None, "ema", "sharded"):
        assert same(model, PSPEncoder.from_pretrained(tmp_path, variant=variant))
    next(tmp_path.glob("model.sharded-*-of-*.safetensors")).unlink()
    with pytest.raises(FileNotFoundError, match="shard"):
        PSPEncoder.from_pretrained(tmp_path, variant="sharded")


def test_a_later_save_replaces_an_earlier_one_sharded_or_not(tmp_path):
    for seed, size in enumerate(["10KB", "5GB", "20KB"]):
        torch.manual_seed(seed)
        model = PSPEncoder(**MODELS[PSPEncoder])
        model.save_pretrained(tmp_path, max_shard_size=size)
        assert same(model, PSPEncoder.from_pretrained(tmp_path))


def test_a_missing_variant_names_the_files_present(model, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="model.fp16.safetensors.*'model.safetensors'"):
        PSPEncoder.from_pretrained(tmp_path, variant="fp16")


def test_half_precision_files_load_as_fp32_unless_asked_otherwise(model, tmp_path):
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    assert PSPEncoder.from_pretrained(tmp_path).dtype == torch.float32
    for name in ("dtype", "torch_dtype"):
        loaded = PSPEncoder.from_pretrained(tmp_path, **{name: torch.bfloat16})
        assert loaded.dtype == torch.bfloat16


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_files_that_are_not_exactly_the_models_are_errors(model, tmp_path, change):
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    name = "map_to_style.0.linear.weight"
    if change == "missing":
        del state[name]
    elif change == "unknown":
        state["stranger"] = torch.zeros(1)
    else:
        state[name] = torch.zeros(3, 3)
    save_file(state, file)
    with pytest.raises(RuntimeError, match=r"map_to_style.0.linear.weight|stranger"):
        PSPEncoder.from_pretrained(tmp_path)


def test_shards_that_lack_a_tensor_are_an_error(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    shard = sorted(tmp_path.glob("*-of-*.safetensors"))[0]
    state = load_file(shard)
    name = sorted(state)[0]
    del state[name]
    save_file(state, shard)
    with pytest.raises(RuntimeError, match=name.replace(".", r"\.")):
        PSPEncoder.from_pretrained(tmp_path)


def test_a_config_of_another_class_is_an_error(model, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="style_channels"):
        StyleGAN2Generator.from_pretrained(tmp_path)


def test_missing_folders_are_not_taken_for_hub_ids(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a folder nor a Hub id"):
        PSPEncoder.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="config.json"):
        PSPEncoder.from_pretrained(tmp_path)


def test_a_broken_config_is_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"resolution": ')
    with pytest.raises(ValueError, match="config.json.*not JSON.*PSPEncoder"):
        PSPEncoder.from_pretrained(tmp_path)


def test_strict_can_be_waived_by_name_alone(model, tmp_path):
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["stranger"] = torch.zeros(1)
    save_file(state, tmp_path / "model.safetensors")
    assert same(model, PSPEncoder.from_pretrained(tmp_path, strict=False))


class Wrapper(HubModel):
    """A model with a part called `module`, which the mixin alone would save without the rest."""

    def __init__(self, *, width: int = 3, names: list[str] | None = None):
        super().__init__()
        self.module, self.rest = torch.nn.Linear(width, 2), torch.nn.Linear(2, 1)


def test_a_part_called_module_is_saved_with_the_rest(tmp_path):
    model = Wrapper(width=5, names=["a"])
    model.save_pretrained(tmp_path)
    loaded = Wrapper.from_pretrained(tmp_path)
    assert same(model, loaded) and loaded.config == {"width": 5, "names": ["a"]}


def test_what_the_mixin_alone_has_saved_loads(model, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(model.config))
    save_model(model, tmp_path / "model.safetensors")
    assert same(model, PSPEncoder.from_pretrained(tmp_path))


def test_only_safetensors_are_written(model, tmp_path):
    with pytest.raises(ValueError, match="safetensors"):
        model.save_pretrained(tmp_path, safe_serialization=False)


def test_offline_download_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="connect once"):
        download_weights("nobody/nothing", "model.safetensors")


def test_hub_round_trip_on_a_fake_hub(tmp_path):
    done = subprocess.run(
        [sys.executable, "tests/hub_round_trip.py", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,  # a bound for what hangs, not for a busy machine
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "round trip complete" in done.stdout


def header_of(file):
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return data, 8 + length


BROKEN = {  # kind -> (what becomes of the file's bytes, what the message says)
    "empty": (lambda data, end: b"", "is empty"),
    "seven bytes": (lambda data, end: data[:7], "is cut off within its header"),
    "half the header": (lambda data, end: data[: end // 2], "is cut off within its header"),
    "header alone": (lambda data, end: data[:end], "is cut off, [0-9,]+ bytes were expected"),
    "last byte missing": (lambda data, end: data[:-1], "is cut off, [0-9,]+ bytes were expected"),
    "pointer": (
        lambda data, end: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "pointer of Git LFS.*git lfs pull",
    ),
    "pickle": (lambda data, end: b"PK\x03\x04" + data, "PyTorch pickle.*inpaint_hub.convert"),
    "old pickle": (lambda data, end: b"\x80\x02" + data, "PyTorch pickle"),
    "web page": (lambda data, end: b"<!DOCTYPE html><html>", "web page"),
    "zeros": (lambda data, end: bytes(len(data)), "is damaged"),
    "header of letters": (lambda data, end: data[:8] + b"x" * len(data[8:]), "is damaged"),
    "more than it should be": (lambda data, end: data + b"\0", "is damaged"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
def test_files_that_are_no_weights_are_named_with_what_they_are(model, tmp_path, kind, shards):
    model.save_pretrained(tmp_path, **({"max_shard_size": "10KB"} if shards else {}))
    file = sorted(tmp_path.glob("*.safetensors"))[0]
    change, message = BROKEN[kind]
    file.write_bytes(change(*header_of(file)))
    size = f"{file.stat().st_size:,} bytes"
    with pytest.raises(ValueError, match=f"{file.name}.*{message}") as refusal:
        PSPEncoder.from_pretrained(tmp_path)
    assert size in str(refusal.value)
    assert "safe=False" not in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_no_numbers_are_refused(model, tmp_path, value, dtype):
    model.to(dtype).save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    name = "map_to_style.0.linear.weight"
    state[name].view(-1)[3] = value
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"NaN or infinite.*{name}"):
        PSPEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("value", [2**15, 2**20, 10**30, -1, 0, 1e400, "x", None, [], {}, True])
def test_absurd_sizes_are_refused_before_anything_is_allocated(cls, tmp_path, value, monkeypatch):
    cls(**MODELS[cls]).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    made = []
    monkeypatch.setattr(cls, "load_state_dict", lambda *given, **options: made.append(1))
    possible = type(value) is int and value < 2**16  # for other numbers than the resolution
    for name in ["resolution"] if possible else [n for n, v in config.items() if type(v) is int]:
        file.write_text(json.dumps({**config, name: value}))
        with pytest.raises((ValueError, RuntimeError), match="expected") as refusal:
            cls.from_pretrained(tmp_path)
        assert name in str(refusal.value) or "tensors of" in str(refusal.value)
    assert not made


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"7", b"[" * 10**5])
def test_a_json_file_that_is_none_is_named_with_its_path(model, tmp_path, content):
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    for name in ("config.json", "model.safetensors.index.json"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{tmp_path / name}.*expected"):
            PSPEncoder.from_pretrained(tmp_path)
        (tmp_path / name).write_bytes(whole)
    assert same(model, PSPEncoder.from_pretrained(tmp_path))


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", 7, None])
def test_shards_lie_beside_their_index(model, tmp_path, shard):
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    file = tmp_path / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"][next(iter(index["weight_map"]))] = shard
    file.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="no weight_map from tensors to files beside it"):
        PSPEncoder.from_pretrained(tmp_path)


@pytest.fixture
def pipeline_folder(tmp_path):
    gan = StyleGAN2Generator(**MODELS[StyleGAN2Generator])
    encoder = PSPEncoder(**MODELS[PSPEncoder])
    PSPPipeline(encoder=encoder, gan=gan).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not JSON"),
        (b"[]", "holds a list"),
        (b'"x"', "holds a str"),
        (b"\xff", "is not JSON"),
        ({"_class_name": 5}, "holds a None"),
        ({"_class_name": "Nothing"}, "holds a Nothing"),
        ({"gan": None}, "gan is None"),
        ({"gan": ["inpaint_hub"]}, "gan is "),
        ({"gan": "StyleGAN2Generator"}, "gan is "),
        ({"stranger": ["os", "system"]}, "'stranger'"),
    ],
)
def test_a_broken_model_index_is_named_with_its_path(pipeline_folder, content, message):
    file = pipeline_folder / "model_index.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content}).encode()
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{pipeline_folder}.*{message}|{message}.*{file}"):
        load_pipeline(pipeline_folder)


def test_networks_of_another_kind_or_library_are_not_loaded(pipeline_folder):
    file = pipeline_folder / "model_index.json"
    index = json.loads(file.read_text())
    for entry in (
        ["os", "system"],
        ["no_such", "X"],
        ["inpaint_hub", "N"],
        ["inpaint_hub", "PSPEncoder"],
    ):
        file.write_text(json.dumps({**index, "gan": entry}))
        with pytest.raises(TypeError, match=f"gan is a .*{entry[1]}.*{file}"):
            load_pipeline(pipeline_folder)


def test_a_generator_alone_is_told_the_line_that_works(tmp_path):
    gan = StyleGAN2Generator(**MODELS[StyleGAN2Generator])
    StyleGAN2Pipeline(gan=gan).save_pretrained(tmp_path / "pipeline")
    gan.save_pretrained(tmp_path / "network")
    names = {
        "StyleGAN2Generator": StyleGAN2Generator,
        "WPlusSearchPipeline": WPlusSearchPipeline,
    }
    for folder in ("pipeline", "network"):
        with pytest.raises(ValueError, match="holds a generator alone") as refusal:
            load_pipeline(tmp_path / folder)
        line = str(refusal.value).split("search with it: ")[1]
        call, path = re.fullmatch(r"(.*)\('([^']*)'\)+", line).groups()
        made = names["WPlusSearchPipeline"]
        if folder == "pipeline":
            assert call == "WPlusSearchPipeline.from_pretrained"
            made = made.from_pretrained(path)
        else:
            assert call == "WPlusSearchPipeline(StyleGAN2Generator.from_pretrained"
            made = made(StyleGAN2Generator.from_pretrained(path))
        assert same(made.gan, gan)
