"""Baselines that bear their names: pSp's own objective, the presets' settings, the searches judged
with every term of their papers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_evaluation import network_file  # noqa: F401
from test_step_by_hand import started

from benchmarks import baselines, differences
from inpaint_hub.evaluation.ledger import Ledger
from inpaint_hub.losses.inversion import identity_loss, unit_feature_loss, w_norm_loss
from inpaint_hub.losses.perceptual import load_perceptual_network
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.training import PRESETS, TrainConfig


def test_psp_learns_by_its_own_objective(place, tmp_path):
    weights = {"pixel_weight": 1.7, "lpips_weight": 0.6, "identity_weight": 0.3}
    own = {"psp_objective": "psp", "w_norm_weight": 0.07, **weights}
    run, batch = started(place, tmp_path, "psp", adversarial_weight=0.0, **own)
    method, image, mask = run.method, batch["image"], batch["mask"]
    generated, code = method.networks(image * (1 - mask), mask)
    total, logs = method.loss(image, mask, generated, code)
    maps, real = ([m.detach() for m in method.network((x + 1) / 2)] for x in (generated, image))
    seen = 0
    for a, b in zip(maps, real):
        a, b = (m / m.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12) for m in (a, b))
        seen += ((a - b) ** 2).sum(dim=1).mean()
    a, b = maps[-1].flatten(2).mean(2), real[-1].flatten(2).mean(2)
    angle = (a * b).sum(1) / a.square().sum(1).sqrt() / b.square().sum(1).sqrt()
    terms = {
        "reconstruction_loss": ((generated - image) ** 2).mean(),
        "perceptual_loss": seen,
        "identity_loss": (1 - angle).mean(),
        "w_norm_loss": ((code - method.w_mean) ** 2).sum(dim=(1, 2)).sqrt().mean(),
    }
    for name, term in terms.items():
        torch.testing.assert_close(logs[name], term, rtol=1e-4, atol=1e-6)
    expected = sum(w * t for w, t in zip((1.7, 0.6, 0.3, 0.07), terms.values()))
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-6)
    masked, _ = started(place, tmp_path / "masked", "psp", adversarial_weight=0.0)
    assert set(masked.method.loss(image, mask, generated, code)[1]) == {
        "reconstruction_loss",
        "perceptual_loss",
    }


def test_the_terms_know_their_scale_and_direction():
    a = [torch.rand(2, 4, 3, 3) + 0.1 for _ in range(2)]
    assert unit_feature_loss(a, [3 * m for m in a]) == pytest.approx(0, abs=1e-6)  # lengths: no say
    assert identity_loss(a, [3 * m for m in a]) == pytest.approx(0, abs=1e-6)
    opposite = [-m for m in a]
    assert unit_feature_loss(a, opposite) == pytest.approx(2 * 4, rel=1e-5)  # two maps, |2 unit|^2
    assert identity_loss(a, opposite) == pytest.approx(2, rel=1e-5)
    assert w_norm_loss(torch.full((3, 5, 4), 2.0), torch.zeros(4)) == pytest.approx(2 * 20**0.5)
    assert not F.mse_loss(a[0], opposite[0]) == 0


SETTINGS = {
    # Richardson et al. 2021 and their program; the encoder sees three channels
    "faces64_psp_own": {
        "method": "psp",
        "psp_objective": "psp",
        "mask_channel": False,
        "learning_rate": 1e-4,
        "train_batch_size": 8,
        "pixel_weight": 1.0,
        "lpips_weight": 0.8,
        "identity_weight": 0.1,
        "w_norm_weight": 0.005,
    },
    # run_training.py of Zhao et al. 2021
    "faces64_comodgan": {
        "method": "comodgan",
        "adam_beta1": 0.0,
        "adam_beta2": 0.99,
        "discr_adam_beta1": 0.0,
        "discr_adam_beta2": 0.99,
        "adam_epsilon": 1e-8,
        "learning_rate": 0.002,
        "discr_learning_rate": 0.002,
        "train_batch_size": 32,
        "r1_gamma": 10.0,
        "path_length_weight": 0.0,
    },
    "faces64_psp": {"psp_objective": "masked", "mask_channel": True},
    "faces64_lahiri": {"method": "lahiri"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_baselines_have_their_papers_settings(name):
    given = {"train_data_dir": "d", "output_dir": "o", "pretrained_model_name_or_path": "g"}
    if PRESETS[name]()["method"] == "comodgan":
        del given["pretrained_model_name_or_path"]
    config = vars(TrainConfig(**{**given, **PRESETS[name]()}))
    assert {key: config[key] for key in SETTINGS[name]} == SETTINGS[name]
    assert config["resolution"] == 64


def test_searches_are_judged_with_their_perceptual_term_at_a_stated_step_count(
    place,
    network_file,  # noqa: F811
    tmp_path,
    capsys,
):
    line = ["--gan", str(place / "gan"), "--data_dir", str(place / "pictures"), "--split", "all"]
    line += ["--perceptual_network", str(place / "network.safetensors"), "--max_images", "2"]
    line += ["--feature_network", str(network_file), "--num_steps", "2"]
    baselines.main([*line, "--only", "mganprior", "w_plus", "--output", str(tmp_path)])
    table = capsys.readouterr().out
    assert "w_plus-2-steps" in table and "mganprior-2-steps" in table and "2 pairs" in table
    gan = StyleGAN2Generator.from_pretrained(place / "gan", subfolder="gan").eval()
    network = load_perceptual_network(place / "network.safetensors")
    with_term, without = (
        baselines.searches(gan, None, features, num_steps=2)[1] for features in (network, None)
    )
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    mask = np.zeros((1, 32, 32), bool)
    mask[:, 8:24] = True
    seen = []
    network.register_forward_hook(lambda *_: seen.append(1))
    fills = [m.fill(picture, mask, "b", [0])[0][0] for m in (with_term, without)]
    assert seen and not np.array_equal(*fills)
    assert with_term.pipe.config.num_codes == 30
    assert [m.name for m in baselines.searches(gan, None, network)] == [
        "w_plus-5000-steps",
        "mganprior-3000-steps",
    ]


def test_differences_are_picture_by_picture_and_ties_are_marked(tmp_path, capsys):
    rng = np.random.default_rng(0)
    ledger = Ledger(tmp_path / "per_image.jsonl")
    records = []
    for i in range(40):
        level = rng.normal(30, 8)  # pictures differ far more than methods
        for name, gain in (("a", 0.5), ("b", 0.0), ("c", rng.normal(0, 0.5))):
            values = {"psnr": level + gain, "ssim": 0.9, "l1_percent": 1.0}
            record = {"key": f"{name} {i}", "method": name, "band": "10-20", "index": i}
            records.append(record | {"values": values})
    ledger.append([*records, {"key": "made", "picture": "x"}])
    differences.main([str(tmp_path), "a:b", "c:b"])
    _, _, first, second = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("| a - b | 10-20 | 40 | 0.5000 [0.5000, 0.5000] |")
    cell = second.split(" | ")[3]
    assert cell.startswith("(") and cell.endswith(")")
    for line, words in (
        ([str(tmp_path), "a:d"], "a:d is in no band"),
        ([str(tmp_path / "x"), "a:b"], "does not exist"),
    ):
        with pytest.raises(SystemExit, match=words):
            differences.main(line)
