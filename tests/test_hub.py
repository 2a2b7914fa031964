"""Models on disk and on the Hub: complete, strict, in the dtype asked for."""

import json
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
    StyleGAN2Discriminator,
    StyleGAN2Generator,
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
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "round trip complete" in done.stdout
