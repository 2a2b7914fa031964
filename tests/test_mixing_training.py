"""What mixes fills with copies is trained on exactly what it will be given, for what is seen."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from inpaint_hub import DualPathInpainter, FeedForwardPipeline
from inpaint_hub.data import ImageDataset
from inpaint_hub.losses.perceptual import load_projection_network
from inpaint_hub.texture import curation, mixed
from inpaint_hub.training import mixing
from tests.test_mixing import lively
from tests.test_texture import box, noise

SIDE = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixing")
    (folder / "photos").mkdir()
    for i in range(3):
        small = Image.fromarray(noise(25, 25, i))
        small.resize((SIDE, SIDE)).save(folder / "photos" / f"{i}.png")
    torch.manual_seed(0)
    inpainter = DualPathInpainter(resolution=128, channels=4, fusion="none")
    FeedForwardPipeline(inpainter).save_pretrained(folder / "pipeline")
    return folder


@pytest.fixture
def arguments(folder, place, tmp_path):
    return {
        "pretrained_model_name_or_path": folder / "pipeline",
        "train_data_dir": folder / "photos",
        "perceptual_network": place / "network.safetensors",
        "candidates_dir": tmp_path / "candidates",
        "output_dir": tmp_path / "mixed",
        "resolution": SIDE,
        "num_candidates": 3,
        "holdout_fraction": 0,
        "max_train_steps": 3,
        "train_batch_size": 2,
    }


def argv(arguments):
    return [str(x) for name, value in arguments.items() for x in (f"--{name}", value)]


def test_a_mixer_is_trained_and_saved_with_its_pipeline(arguments, capsys):
    mixing.main(argv(arguments))
    pipe = FeedForwardPipeline.from_pretrained(arguments["output_dir"])
    assert any(conv.weight.abs().max() > 0 for conv in pipe.mixer.to_logits)
    given = FeedForwardPipeline.from_pretrained(arguments["pretrained_model_name_or_path"])
    own, before = (p.inpainter.state_dict() for p in (pipe, given))
    assert all(torch.equal(own[name], before[name]) for name in before)
    picture, hole = noise(64, 64), box((64, 64), 20, 20, 12, 12)
    made = np.asarray(pipe(picture, hole, texture="auto").images[0])
    assert (made[~hole] == picture[~hole]).all()


def test_equal_seeds_give_equal_mixers_and_candidates_are_kept(arguments, monkeypatch):
    mixing.main(argv(arguments))
    first = FeedForwardPipeline.from_pretrained(arguments["output_dir"]).mixer.state_dict()
    monkeypatch.setattr(mixing, "candidates_for", None)  # they are there
    mixing.main(argv(arguments))
    again = FeedForwardPipeline.from_pretrained(arguments["output_dir"]).mixer.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    mixing.main(argv(arguments | {"seed": 1}))
    other = FeedForwardPipeline.from_pretrained(arguments["output_dir"]).mixer.state_dict()
    assert not torch.equal(first["to_logits.0.weight"], other["to_logits.0.weight"])


def test_candidates_are_what_the_pipelines_mixer_is_given(folder, monkeypatch):
    inpainter = FeedForwardPipeline.from_pretrained(folder / "pipeline").inpainter
    photo, hole = noise(SIDE, SIDE), box((SIDE, SIDE), 60, 70, 30, 24)
    given = []

    def recorded(mixer, fills, own):
        given.append(fills)
        return mixed(mixer, fills, own)

    monkeypatch.setattr(curation, "mixed", recorded)
    pipe = FeedForwardPipeline(inpainter, mixing.Recorder())
    fills = mixing.candidates_for(pipe, photo, hole, 4)
    assert fills.shape == (3, SIDE, SIDE, 3) and fills.dtype == np.uint8
    assert (fills[:, ~hole] == photo[~hole]).all()
    wanted = np.stack(given[0])
    assert np.abs(fills[:, hole].astype(int) - wanted[:, hole] * 255).max() <= 0.51
    assert all((fills[i][hole] != fills[j][hole]).any() for i, j in ((0, 1), (1, 2), (0, 2)))
    other = mixing.candidates_for(pipe, photo, hole, 5)
    assert (other != fills).any() and (mixing.candidates_for(pipe, photo, hole, 4) == fills).all()
    pair = hole | box((SIDE, SIDE), 2, 180, 3, 4)
    with_pieces = mixing.candidates_for(pipe, photo, pair, 4)
    assert with_pieces is None or (with_pieces[:, ~pair] == photo[~pair]).all()


def test_a_crop_shows_some_of_the_hole_and_fills_belong_to_their_photo(tmp_path):
    photo, hole = noise(260, 300), box((260, 300), 200, 220, 50, 60)
    fills = np.stack([np.where(hole[..., None], 50 * k, photo) for k in range(3)]).astype(np.uint8)
    file = tmp_path / "a.safetensors"
    save_file({"photo": photo, "hole": hole, "fills": fills}, file)
    rng = np.random.default_rng(0)
    shown, where, candidates = mixing.batch_of([file] * 6, rng)
    assert shown.shape == (6, 3, 192, 192) and candidates.shape == (6, 3, 3, 192, 192)
    assert (where.mean(dim=(1, 2, 3)) > 0.02).all() and set(where.unique().tolist()) == {0, 1}
    known = (where == 0).expand_as(shown)
    for k in range(3):
        assert torch.equal(candidates[:, k][known], shown[known])
        inside = candidates[:, k][~known]
        assert torch.allclose(inside, torch.full((), 50 * k / 255))
    assert len({crop.sum().item() for crop in shown}) > 3


def test_crops_are_mirrored_half_of_the_time(tmp_path):
    photo = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(200, axis=0)
    file = tmp_path / "a.safetensors"
    save_file({"photo": photo, "hole": photo[..., 0] > 0, "fills": photo[None]}, file)
    rng = np.random.default_rng(0)
    rising = [
        int(c[0, 5, 0]) > int(c[0, 4, 0]) for c in (mixing.crop_of(file, rng) for _ in range(16))
    ]
    assert 3 < sum(rising) < 13


def test_fineness_is_raised_as_texture_raises_it():
    rng = np.random.default_rng(1)
    grain = rng.normal(0, 0.05, (96, 96, 3)).astype(np.float32)
    hole = box((96, 96), 28, 28, 40, 40)
    rim = hole & ~box((96, 96), 29, 29, 38, 38)  # not counted: it meets what is known
    for softness in (1.5, 4.0, 0.5):
        picture = np.float32(0.5) + np.where(hole[..., None], grain / softness, grain)
        picture = np.where(rim[..., None], 0.5 + 3 * grain, picture).astype(np.float32)
        wanted = curation.as_fine_as_around(picture, hole, hole)
        x = torch.from_numpy(picture).permute(2, 0, 1)[None]
        made, fineness = mixing.as_fine_as_around(x, torch.from_numpy(hole)[None, None].float())
        assert np.abs(made[0].permute(1, 2, 0).numpy() - wanted).max() < 2e-3
        assert fineness.item() == pytest.approx(min(1, (2 / softness) ** 2) if softness > 1 else 4,
                                                rel=0.2)  # fmt: skip


def test_the_terms_are_what_they_say(place):
    network = load_projection_network(place / "network.safetensors")
    photo = torch.rand((2, 3, 96, 96), generator=torch.Generator().manual_seed(0))
    hole = torch.zeros(2, 1, 96, 96)
    hole[..., 30:66, 30:66] = 1
    same = mixing.losses_of(network, photo, photo, hole)
    assert same["looks"].item() == pytest.approx(0, abs=1e-5)
    assert same["error"].item() < -30 and same["fineness"].item() == 0
    flat = torch.where(hole > 0, torch.full((), 0.5), photo)
    blurred = mixing.losses_of(network, flat, photo, hole)
    squares = (flat - photo).square()[(hole > 0).expand_as(photo)].mean()
    assert blurred["error"].item() == pytest.approx(10 * np.log10(squares.item()), abs=0.1)
    assert blurred["fineness"].item() == pytest.approx(mixing.FINENESS, abs=0.02)
    assert blurred["looks"] > same["looks"] + 1e-4


def test_the_loss_reaches_every_weight_of_the_mixer(place):
    network, mixer = load_projection_network(place / "network.safetensors"), lively()
    photo, hole = torch.rand(1, 3, 96, 96), torch.zeros(1, 1, 96, 96)
    hole[..., 30:66, 30:66] = 1
    candidates = torch.where(hole[:, None] > 0, torch.rand(1, 3, 3, 96, 96), photo[:, None])
    sum(mixing.losses_of(network, mixer(candidates, hole), photo, hole).values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in mixer.parameters())
    assert all(p.grad is None for p in network.parameters())


def test_held_out_photos_are_left_out(arguments, folder, monkeypatch):
    seen = []

    def candidates_for(pipe, photo, hole, seed):
        seen.append(photo)
        return np.stack([photo] * 3)

    monkeypatch.setattr(mixing, "candidates_for", candidates_for)
    held = ImageDataset(folder / "photos", "train", SIDE, holdout_fraction=0.4, held_out=True)
    left_out = [np.asarray(held[i]) for i in range(len(held))]
    assert 0 < len(left_out) < 3
    chosen = arguments | {"holdout_fraction": 0.4, "num_candidates": 5}
    files = mixing.make_candidates(mixing.parse(argv(chosen)))
    assert len(files) == len(seen) == 5
    assert not any((a == b).all() for a in seen for b in left_out)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resolution": 100}, "--resolution is 100, expected at least 192"),
        ({"num_candidates": 0}, "--num_candidates is 0, expected at least 1"),
        ({"max_train_steps": 0}, "--max_train_steps is 0, expected at least 1"),
        ({"train_batch_size": -1}, "--train_batch_size is -1, expected at least 1"),
    ],
)
def test_impossible_settings_are_named(arguments, changed, message, capsys):
    with pytest.raises(SystemExit):
        mixing.parse(argv(arguments | changed))
    assert message in capsys.readouterr().err


def test_photos_whose_fills_are_not_mixed_are_refused(arguments):
    with pytest.raises(SystemExit, match="--resolution is 400, expected at most 384: fills of 128"):
        mixing.main(argv(arguments | {"resolution": 400}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pretrained_model_name_or_path", "is neither a folder nor a Hub id"),
        ("train_data_dir", "nowhere"),
        ("perceptual_network", "neither 'vgg16' nor a file"),
    ],
)
def test_what_is_not_there_is_named(arguments, name, message):
    with pytest.raises(SystemExit, match=message):
        mixing.main(argv(arguments | {name: "nowhere/at/all", "num_candidates": 1}))


def test_the_rate_warms_up_stays_and_falls():
    shares = [mixing.share_of_rate(step, 1000) for step in range(1000)]
    assert shares[0] == pytest.approx(0.02) and shares[60] == shares[299] == 1
    assert shares[650] == pytest.approx(0.5, abs=0.01) and shares[-1] < 1e-4
