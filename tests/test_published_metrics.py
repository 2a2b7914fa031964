"""Generators judged by their samples, and FID, KID and LPIPS by the programs that define them."""

import importlib
import importlib.util
import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_evaluation import folder, network_file  # noqa: F401
from test_pipelines import tiny_pipeline

from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation.__main__ import main
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.frechet import frechet_of_features
from inpaint_hub.evaluation.scoring import Scorer
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "gan"
    StyleGAN2Pipeline(tiny_pipeline().gan).save_pretrained(path)
    return path


def test_a_generator_is_judged_by_its_samples(folder, network_file, generator, tmp_path):  # noqa: F811
    line = ["--data_dir", str(folder), "--perceptual_network", str(network_file)]
    line += ["--pipelines", f"gan={generator}"]
    main([*line, "--output", str(tmp_path / "one")])
    report = json.loads((tmp_path / "one" / "results.json").read_text())
    samples = sorted((tmp_path / "one" / "pictures" / "gan" / "samples").iterdir())
    assert list(report["results"]) == ["samples"] and len(samples) == 5
    made = np.stack([np.asarray(Image.open(file)) for file in samples])
    assert made.reshape(5, -1).std(axis=0).mean() > 0  # not one picture five times
    network = FeatureNetwork(network_file)
    side = made.shape[1]
    real = np.stack([ImageDataset(folder, "validation", side).load(i) for i in range(5)])
    expected = frechet_of_features(network(made), network(real))
    assert report["results"]["samples"]["gan"]["fd_colors"]["mean"] == pytest.approx(expected)
    assert report["settings"]["num_images"] == 5
    more = ["--telea", "--bands", "50-60", "--max_images", "3", "--resolution", str(side)]
    main([*line, *more, "--output", str(tmp_path / "two")])
    assert list(json.loads((tmp_path / "two" / "results.json").read_text())["results"]) == [
        "50-60 %",
        "samples",
    ]
    for k, file in enumerate(sorted((tmp_path / "two" / "pictures/gan/samples").iterdir())):
        assert np.array_equal(np.asarray(Image.open(file)), made[k])
    assert "gan" in (tmp_path / "two" / "report.html").read_text()


def test_a_generator_of_another_size_is_an_error(folder, network_file, generator, tmp_path):  # noqa: F811
    line = ["--data_dir", str(folder), "--pipelines", f"gan={generator}", "--resolution", "64"]
    with pytest.raises(SystemExit, match="gan makes pictures of 32 px, judged are 64 px"):
        main([*line, "--output", str(tmp_path / "o")])


def test_the_device_is_that_of_the_feature_networks_too(network_file, monkeypatch):  # noqa: F811
    network = FeatureNetwork(network_file, "meta")
    assert {w.device.type for w in network.weights.values()} == {"meta"}
    moved = []

    class Network(torch.nn.Linear):
        def __init__(self, net, verbose):
            super().__init__(1, 1)
            moved.append(self)

    monkeypatch.setitem(__import__("sys").modules, "lpips", type("m", (), {"LPIPS": Network}))
    Scorer(device="meta")
    assert moved[0].weight.is_meta


# With the extra `metrics` installed, and random weights in place of the downloaded ones


@pytest.fixture
def installed():
    """torch-fidelity and lpips, or skip."""
    for name in ("torch_fidelity", "lpips", "torchvision"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install inpaint_hub[metrics]")
    return importlib.import_module("torch_fidelity"), importlib.import_module("lpips")


def test_torch_fidelity_measures_sets_of_pictures(installed, monkeypatch):
    inception = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    extractor = inception.FeatureExtractorInceptionV3
    built = []

    def keep(self, state):
        torch.manual_seed(0)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter)
        built.append(self)

    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *a, **k: {})
    monkeypatch.setattr(extractor, "load_state_dict", keep)
    rng = np.random.default_rng(0)
    results, originals = rng.integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    results[:, :16] //= 2
    distances = Scorer().inception_distances(results, originals)
    assert set(distances) == {"fid_inception", "kid_inception"}
    pictures = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in (results, originals)]
    with torch.no_grad():
        features = [built[0](x)[built[0].features_list.index("2048")].numpy() for x in pictures]
    expected = frechet_of_features(*features)
    assert expected > 0
    assert distances["fid_inception"]["mean"] == pytest.approx(expected, rel=1e-3)


def test_lpips_measures_a_picture(installed, monkeypatch):
    _, lpips = installed
    torch.manual_seed(0)
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    monkeypatch.setattr(lpips, "LPIPS", lambda net, verbose: network)
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    near = np.clip(original.astype(int) + 8, 0, 255).astype(np.uint8)
    far = 255 - original
    mask = np.ones((64, 64), bool)
    values = [Scorer().score(x, original, mask)[0]["lpips_alex"] for x in (original, near, far)]
    assert values[0] == pytest.approx(0, abs=1e-6) and 0 < values[1] < values[2]
