"""The guides' commands and code, run one after another at tiny size."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import save_file
from test_feature_networks import MobileNet
from training_runs import TINY, fields

from inpaint_hub import __main__ as command_line
from inpaint_hub.convert.feature_networks import mobilenet_layers
from inpaint_hub.evaluation import __main__ as evaluation
from inpaint_hub.training import PRESETS, TrainConfig, parse_config, train

ROOT = Path(__file__).parent.parent
OWN_WIDTHS = ["resolution", "z_dim", "w_dim", "num_mapping_layers", "channel_base", "channel_max"]
OWN_WIDTHS += ["backbone_width", "style_channels", "inpainter_channels", "patch_channels"]


def commands_of(page):
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def run(command, folder):
    """Run one command of a guide, its folders inside `folder`, its training cut short."""
    program, given = command[1], command[2:]
    if program == "-m":
        program, given = given[0], given[1:]
    places = r"(?<![\w/])(photos|runs|nets|report|filled|mask\.png)(?=/|$)"
    given = [re.sub(places, lambda place: f"{folder}/{place[0]}", word) for word in given]
    if program == "train_accelerate.py":
        flags = {"max_train_steps": 1, "train_batch_size": 2, "report_to": "jsonl"}
        flags |= {"lr_warmup_steps": 0, "num_validation_images": 1}
        if not any(word.startswith("weights/") for word in given):
            flags |= {name: TINY[name] for name in OWN_WIDTHS}
        given += [f"--{name}={value}" for name, value in flags.items()]
        presets = {name: preset() for name, preset in PRESETS.items()}
        AcceleratorState._reset_state(True)
        train(parse_config(given, presets))
    elif program == "inpaint_hub.evaluation":
        assert evaluation.main([*given, "--max_images", "2"]) in (0, None)
    elif program == "inpaint_hub":
        assert command_line.main(given) == 0
    else:
        raise AssertionError(f"no test knows how to run {command}")


@pytest.fixture
def photos(place, tmp_path, monkeypatch):
    """Folders as the guide has them; the networks are small stand-ins, already fetched."""
    for split, count in (("train", 4), ("validation", 2)):
        (tmp_path / "photos" / split).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(i).integers(0, 256, (140, 150, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / split / f"{i}.png")
    mask = np.zeros((140, 150), np.uint8)
    mask[40:80, 40:80] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "nets").mkdir()
    network = (place / "network.safetensors").read_bytes()
    (tmp_path / "nets" / "squeezenet1_1.safetensors").write_bytes(network)
    return tmp_path


def test_a_folder_of_photos_becomes_a_judged_model(photos):
    """Every command of OWN_PHOTOS.md but the download, which has tests of its own."""
    commands = commands_of("OWN_PHOTOS.md")
    assert commands[0] == [*"python -m inpaint_hub.convert.feature_networks nets".split()]
    for command in commands[1:]:
        if "nets/mobilenet_v2_timm.json" in command:
            write_metric_network(photos / "nets")
        run(command, photos)
    assert (photos / "report" / "report.html").is_file()
    filled = np.asarray(Image.open(photos / "filled" / "0.png"))
    original = np.asarray(Image.open(photos / "photos" / "validation" / "0.png"))
    known = np.asarray(Image.open(photos / "mask.png")) == 0
    assert np.array_equal(filled[known], original[known])
    assert not np.array_equal(filled, original)


def write_metric_network(folder):
    torch.manual_seed(0)
    description, weights = mobilenet_layers(MobileNet().eval().state_dict(), size=32)
    save_file(weights, folder / "mobilenet_v2_timm.safetensors")
    (folder / "mobilenet_v2_timm.json").write_text(json.dumps(description))


def test_the_method_that_is_added_fills_and_trains(place, tmp_path, monkeypatch):
    """The code of ADD_A_METHOD.md."""
    text = (ROOT / "docs" / "ADD_A_METHOD.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    monkeypatch.chdir(ROOT)
    guide = {"__name__": "guide"}
    exec(compile(code, "ADD_A_METHOD.md", "exec"), guide)
    photo, filled = np.asarray(guide["photo"]), np.asarray(guide["filled"])
    known = np.asarray(guide["mask"].convert("L")) < 128
    assert np.array_equal(filled[known], photo[known]) and not np.array_equal(filled, photo)
    monkeypatch.setattr(
        "inpaint_hub.training.loop.make_method", lambda *given: guide["MeanColorTraining"](*given)
    )
    AcceleratorState._reset_state(True)
    chosen = fields(place, tmp_path, method="psp", max_train_steps=1)
    done = train(TrainConfig(**chosen))
    assert (done / "encoder" / "model.safetensors").is_file()
