"""Other programs' checkpoints become our networks, with exactly their numbers."""

import collections
import json

import numpy as np
import pytest
import torch
from checkpoints import (
    FIR,
    Persistent,
    data_parallel,
    nvidia_discriminator,
    nvidia_generator,
    nvidia_pickle,
    psp_checkpoint,
    rosinality_discriminator,
    rosinality_generator,
    rosinality_training,
)
from safetensors.torch import save_file
from test_stylegan2_parity import (
    FIXTURES,
    assert_reproduces,
    nvidia_generator_names,
    original_tensor,
    rosinality_discriminator_names,
    rosinality_generator_names,
)

from inpaint_hub import PSPPipeline, StyleGAN2Generator, StyleGAN2Pipeline, WPlusSearchPipeline
from inpaint_hub.convert import (
    ConversionError,
    UnknownLayoutError,
    WrongKeysError,
    convert,
    convert_to_folder,
    export_rosinality,
)
from inpaint_hub.convert.__main__ import main


def saved(tmp_path, checkpoint, name="given.bin", **options):
    """The file's name says nothing: formats are told by content."""
    if isinstance(checkpoint, bytes):
        (tmp_path / name).write_bytes(checkpoint)
    else:
        torch.save(checkpoint, tmp_path / name, **options)
    return tmp_path / name


def differing(network, given, names):
    """Our names whose tensors are not, bit for bit, the given ones."""
    own = network.state_dict()
    return [
        ours
        for ours, theirs in names.items()
        if theirs in given and not torch.equal(own[ours], given[theirs].view_as(own[ours]))
    ]


SIZES = [
    {},
    {"size": 8, "base": 64, "most": 8, "n_mlp": 1},
    {"size": 64, "base": 1000, "most": 100, "n_mlp": 8, "w": 12},  # 100, 62, 31, 15
    {"size": 16, "base": 99999, "most": 7, "n_mlp": 4},
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("prefix", [dict, data_parallel], ids=["plain", "DataParallel"])
def test_rosinalitys_generator_comes_over_bit_for_bit(tmp_path, sizes, prefix):
    given = rosinality_generator(**sizes)
    mean = torch.arange(float(sizes.get("w", 16)))
    file = saved(tmp_path, {"g_ema": prefix(given), "latent_avg": mean})
    gan = convert(file).networks["gan"]
    names = rosinality_generator_names(gan.resolutions)
    names = {a: b for a, b in names.items() if b in given}
    assert set(names) | {"w_avg"} == set(gan.state_dict())
    assert differing(gan, given, names) == []
    assert torch.equal(gan.w_avg, mean)
    assert gan(torch.randn(1, gan.z_dim)).shape[-1] == sizes.get("size", 32)


def test_a_training_checkpoint_gives_average_raw_generator_and_discriminator(tmp_path):
    given = rosinality_training()
    conversion = convert(saved(tmp_path, given))
    gan, judge = conversion.networks["gan"], conversion.networks["discriminator"]
    names = rosinality_generator_names(gan.resolutions)
    names = {a: b for a, b in names.items() if b in given["g"]}
    assert differing(gan, given["g_ema"], names) == []
    assert differing(conversion.raw, given["g"], names) == []
    judged = rosinality_discriminator_names(len(judge.blocks))
    assert set(judged) == set(judge.state_dict())
    assert differing(judge, given["d"], judged) == []
    assert sorted(conversion.set_aside) == ["ada_aug_p", "args", "d_optim", "g_optim"]


def test_what_a_file_lacks_is_made_from_a_seed(tmp_path):
    file = saved(tmp_path, rosinality_generator(noises=False))
    first, second = (convert(file) for _ in range(2))
    a, b = first.networks["gan"], second.networks["gan"]
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    expected, _ = a.w_statistics(20_000, torch.Generator().manual_seed(1))
    assert (a.w_avg - expected).abs().max() < 0.1 * expected.abs().max()
    assert len(first.notes) == 2


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_formats_and_precisions(tmp_path, legacy, dtype):
    given = {k: v.to(dtype) for k, v in rosinality_generator().items()}
    file = saved(tmp_path, {"g_ema": given}, _use_new_zipfile_serialization=not legacy)
    gan = convert(file).networks["gan"]
    names = {a: b for a, b in rosinality_generator_names(gan.resolutions).items() if b in given}
    assert differing(gan, {k: v.float() for k, v in given.items()}, names) == []


def test_safetensors_of_rosinalitys_keys_are_read(tmp_path):
    given = rosinality_generator()
    flat = {f"g_ema.{k}": v.contiguous().clone() for k, v in given.items()}
    save_file(flat | {"latent_avg": torch.ones(16)}, tmp_path / "a.safetensors")
    save_file({k: v.clone() for k, v in given.items()}, tmp_path / "b.safetensors")
    for name in ("a", "b"):
        gan = convert(tmp_path / f"{name}.safetensors").networks["gan"]
        names = rosinality_generator_names(gan.resolutions)
        assert differing(gan, given, {a: b for a, b in names.items() if b in given}) == []


@pytest.mark.parametrize("channels", [3, 4])
def test_discriminators_may_see_a_fourth_channel(tmp_path, channels):
    for index, checkpoint in enumerate(
        [
            {"d": rosinality_discriminator(channels=channels)},
            nvidia_pickle({"D": nvidia_discriminator(channels=channels)}),
        ]
    ):
        judge = convert(saved(tmp_path, checkpoint, f"{index}")).networks["discriminator"]
        assert judge.mask_channel == (channels == 4)
        mask = torch.zeros(2, 1, 32, 32) if channels == 4 else None
        assert judge(torch.randn(2, 3, 32, 32), mask).shape == (2, 1)


@pytest.mark.parametrize("sizes", SIZES)
def test_rosinalitys_layout_comes_back_bit_for_bit(tmp_path, sizes):
    given = rosinality_training(**sizes)
    given["latent_avg"] = torch.arange(float(sizes.get("w", 16)))
    folder, back = tmp_path / "ours", tmp_path / "back.pt"
    convert_to_folder(saved(tmp_path, given), folder)
    assert main([str(folder), str(back), "--to", "rosinality"]) == 0
    returned = torch.load(back, weights_only=True)
    assert set(returned) == {"g", "g_ema", "d", "latent_avg"}
    for name in ("g", "g_ema", "d"):
        assert set(returned[name]) == set(given[name])
        for key, tensor in given[name].items():
            assert torch.equal(returned[name][key], tensor), key
    assert torch.equal(returned["latent_avg"], given["latent_avg"])


# ---- NVIDIA ------------------------------------------------------------------------------------


def test_a_released_networks_layout_gives_the_original_programs_pictures(tmp_path):
    convert_to_folder(FIXTURES / "nvidia-generator-32.pkl", tmp_path / "gan")
    gan = StyleGAN2Pipeline.from_pretrained(tmp_path / "gan").gan
    data = np.load(FIXTURES / "nvidia-generator-32.npz")
    z = torch.from_numpy(data["z"].astype(np.float32))
    with torch.no_grad():
        assert_reproduces(gan(z), data["image"])
        assert_reproduces(gan(z, truncation_psi=0.7), data["image_psi07"])


@pytest.mark.parametrize("sizes", [*SIZES, {"z": 5, "w": 11, "lr": 0.02}])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_nvidias_networks_come_over_bit_for_bit(tmp_path, sizes, protocol):
    shared = {k: v for k, v in sizes.items() if k in ("size", "base", "most")}
    networks = {
        "G": nvidia_generator(seed=9, **sizes),
        "D": nvidia_discriminator(**shared),
        "G_ema": nvidia_generator(**sizes),
    }
    conversion = convert(saved(tmp_path, nvidia_pickle(networks, protocol)))
    gan = conversion.networks["gan"]
    names = nvidia_generator_names(gan.resolutions)
    for network, given in ((gan, networks["G_ema"]), (conversion.raw, networks["G"])):
        state = flat(given)
        own = {a: b for a, b in names.items() if b in state}
        assert set(own) == set(network.state_dict())
        assert differing(network, state, own) == []
    assert gan.mapping.layers[0].bias_gain == sizes.get("lr", 0.01)
    judge = conversion.networks["discriminator"]
    assert judge.mbstd_group_size == 8
    state = flat(networks["D"])
    last = f"b{judge.resolution}"
    assert torch.equal(judge.from_rgb.weight, state[f"{last}.fromrgb.weight"])
    assert torch.equal(judge.blocks[0].down_conv.weight, state[f"{last}.conv1.weight"])
    assert torch.equal(judge.out.bias, state["b4.out.bias"])


def flat(network, prefix=""):
    state = {}
    for kind in ("_parameters", "_buffers"):
        state |= {prefix + k: v.detach() for k, v in network.state[kind].items()}
    for name, module in network.state["_modules"].items():
        state |= flat(module, f"{prefix}{name}.")
    return state


def test_a_network_without_noise_adds_none(tmp_path):
    gan = convert(
        saved(tmp_path, nvidia_pickle({"G_ema": nvidia_generator(noise=False)}))
    ).networks["gan"]
    z = torch.randn(1, 16)
    with torch.no_grad():
        assert torch.equal(gan(z, noise_mode="const"), gan(z, noise_mode="none"))


@pytest.mark.parametrize(
    "network, words",
    [
        (nvidia_generator(fir=torch.full((4, 4), 1 / 16)), "kernel"),
        (nvidia_discriminator(architecture="orig"), "architecture"),
        (nvidia_generator(c_dim=10), "conditional"),
        (
            Persistent(
                "Generator",
                modules={
                    "synthesis": Persistent(
                        "SynthesisNetwork",
                        modules={"L0_36_1024": Persistent("Layer", {"weight": torch.ones(1)})},
                    )
                },
            ),
            "StyleGAN3",
        ),
    ],
    ids=["filter", "cifar", "conditional", "StyleGAN3"],
)
def test_other_networks_of_nvidias_are_refused_by_name(tmp_path, network, words):
    role = "D" if network.class_name == "Discriminator" else "G_ema"
    with pytest.raises(ConversionError, match=words):
        convert(saved(tmp_path, nvidia_pickle({role: network})))


# ---- pSp, e4e, ArcFace -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "delta, average, channels, size, side",
    [
        (False, "rows", 3, 32, 64),
        (False, "different", 4, 64, 32),
        (True, "one", 3, 64, 32),
        (True, "different", 4, 32, 64),
    ],
)
def test_converted_encoders_give_the_original_codes(tmp_path, delta, average, channels, size, side):
    checkpoint, theirs = psp_checkpoint(size, 16, channels, delta, side, average=average)
    convert_to_folder(saved(tmp_path, checkpoint), tmp_path / "ours")
    encoder = PSPPipeline.from_pretrained(tmp_path / "ours").encoder
    assert encoder.delta_rows == delta and encoder.input_size == side
    seen = torch.randn(2, channels, side, side)
    with torch.no_grad():
        expected = theirs(seen) + checkpoint["latent_avg"]
        mask = seen[:, 3:] if channels == 4 else torch.zeros(2, 1, side, side)
        torch.testing.assert_close(encoder(seen[:, :3], mask), expected, rtol=1e-4, atol=1e-4)


def test_codes_that_are_no_offsets_stay_as_they_are(tmp_path):
    checkpoint, theirs = psp_checkpoint(average="one")
    checkpoint["opts"]["start_from_latent_avg"] = False
    conversion = convert(saved(tmp_path, checkpoint))
    assert not conversion.networks["encoder"].w_avg.any()
    assert torch.equal(conversion.networks["gan"].w_avg, checkpoint["latent_avg"])


def test_a_missing_average_is_the_decoders_as_in_e4e(tmp_path):
    checkpoint, _ = psp_checkpoint(average="none", delta=True)
    networks = convert(saved(tmp_path, checkpoint)).networks
    assert networks["encoder"].w_avg.any()
    assert torch.equal(networks["encoder"].w_avg, networks["gan"].w_avg)


def test_a_file_that_does_not_say_whose_encoder_it_holds_is_asked_about(tmp_path):
    checkpoint, _ = psp_checkpoint(delta=True, opts={})
    file = saved(tmp_path, checkpoint)
    conversion = convert(file)
    assert not conversion.networks["encoder"].delta_rows
    assert any("--encoder_type e4e" in note for note in conversion.notes)
    assert convert(file, encoder_type="e4e").networks["encoder"].delta_rows


def test_arcfaces_trunk_is_read_and_its_head_named(tmp_path):
    _, theirs = psp_checkpoint()
    state = theirs.state_dict()
    trunk = {k: v for k, v in state.items() if k.startswith(("input_layer", "body"))}
    trunk = {k: v for k, v in trunk.items() if not k.endswith("num_batches_tracked")}
    trunk["output_layer.3.weight"] = torch.ones(4, 4)
    conversion = convert(saved(tmp_path, trunk))
    assert conversion.set_aside == ["output_layer.3.weight"]
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        coarse = conversion.networks["trunk"].eval()(x)[-1]
        torch.testing.assert_close(coarse, theirs.body(theirs.input_layer(x)), rtol=1e-4, atol=1e-4)


def test_encoders_of_segmentations_are_refused_with_their_channels(tmp_path):
    checkpoint, _ = psp_checkpoint(channels=19)
    with pytest.raises(UnknownLayoutError, match=r"\(16, 19, 3, 3\).*19 channels, expected 3"):
        convert(saved(tmp_path, checkpoint))


# ---- errors ------------------------------------------------------------------------------------


def broken(change):
    state = rosinality_generator()
    change(state)
    return state


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.pop("convs.3.conv.weight"), "missing: 'convs.3.conv.weight'"),
        (lambda s: s.pop("noises.noise_2"), "missing: 'noises.noise_2'"),
        (lambda s: s.update(extra=torch.ones(1)), "left over: 'extra'"),
        (
            lambda s: s.update({"convs.1.conv.weight": torch.ones(1, 16, 15, 3, 3)}),
            r"'convs.1.conv.weight' has shape \(1, 16, 15, 3, 3\), expected \(1, 16, 16, 3, 3\)",
        ),
        (
            lambda s: s.update({"style.1.weight": torch.ones(17, 16)}),
            r"'style.1.weight' has shape \(17, 16\), expected \(16, 16\)",
        ),
        (lambda s: s["to_rgb1.bias"].fill_(torch.nan), "not finite"),
        (
            lambda s: s.update({"to_rgb1.bias": torch.ones(1, 3, 1, 1, dtype=torch.long)}),
            "torch.int64",
        ),
        (lambda s: s.update({"convs.0.conv.blur.kernel": torch.ones(4, 4)}), "kernel"),
        (lambda s: s.update({"module.conv1.noise.weight": torch.ones(1)}), "with and without"),
    ],
)
def test_every_tensor_is_used_once_or_named(tmp_path, change, words):
    with pytest.raises(WrongKeysError, match=words):
        convert(saved(tmp_path, {"g_ema": broken(change)}))


def test_an_unknown_network_beside_the_known_ones_is_an_error(tmp_path):
    given = {"g_ema": rosinality_generator(), "e": {"weight": torch.ones(3)}}
    with pytest.raises(WrongKeysError, match="left over: 'e'"):
        convert(saved(tmp_path, given))


def test_channels_that_stylegan2_does_not_have_are_named(tmp_path):
    given = rosinality_generator(size=16)
    for key in [k for k in given if k.startswith("convs.2") or k.startswith("convs.3")]:
        if given[key].ndim == 5:
            given[key] = torch.ones(1, 64, *given[key].shape[2:])
        elif key.endswith("activate.bias"):
            given[key] = torch.ones(64)
    with pytest.raises(WrongKeysError, match="16: 64"):
        convert(saved(tmp_path, given))


# ---- folders -----------------------------------------------------------------------------------


def test_a_folder_tells_where_it_is_from(tmp_path):
    file = saved(tmp_path, rosinality_training())
    conversion = convert_to_folder(file, tmp_path / "ours")
    text = (tmp_path / "ours" / "README.md").read_text()
    import hashlib

    assert hashlib.sha256(file.read_bytes()).hexdigest() in text
    assert "## License" in text and "license: other" in text and "`g_optim`" in text
    assert conversion.layout in text
    assert not [p for p in (tmp_path / "ours").rglob("README.md") if p.parent.name != "ours"]
    raw = StyleGAN2Generator.from_pretrained(tmp_path / "ours", subfolder="gan", variant="raw")
    assert torch.equal(raw.synthesis.blocks["4"].const, conversion.raw.synthesis.blocks["4"].const)
    index = json.loads((tmp_path / "ours" / "model_index.json").read_text())
    assert index["_class_name"] == "StyleGAN2Pipeline"


def test_a_converted_generator_can_be_searched(tmp_path):
    convert_to_folder(saved(tmp_path, rosinality_generator()), tmp_path / "ours")
    gan = StyleGAN2Pipeline.from_pretrained(tmp_path / "ours").gan
    pipe = WPlusSearchPipeline(gan=gan, num_steps=2)
    pipe.set_progress_bar_config(disable=True)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[8:20, 8:20] = True
    result = np.asarray(pipe(image, mask).images[0])
    assert (result[~mask] == image[~mask]).all() and (result[mask] != image[mask]).any()


def test_nothing_is_written_where_something_is_or_where_it_fails(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    file = saved(tmp_path, rosinality_generator())
    with pytest.raises(FileExistsError, match="--overwrite"):
        convert_to_folder(file, tmp_path / "there")
    bad = saved(tmp_path, {"g_ema": broken(lambda s: s.pop("input.input"))}, "bad")
    with pytest.raises(ConversionError):
        convert_to_folder(bad, tmp_path / "there", overwrite=True)
    assert (tmp_path / "there" / "mine.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "given.bin", "there"]


def test_the_command_reports_and_refuses_without_a_traceback(tmp_path, capsys):
    file = saved(tmp_path, collections.OrderedDict(rosinality_generator()))
    assert main([str(file), str(tmp_path / "ours")]) == 0
    assert "StyleGAN2Pipeline from rosinality" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "none.pt"), str(tmp_path / "other")])
    assert stopped.value.code == 2
    assert "none.pt" in capsys.readouterr().err


def test_a_generator_of_another_learning_rate_does_not_go_back(tmp_path):
    networks = {"G_ema": nvidia_generator(lr=0.02)}
    convert_to_folder(saved(tmp_path, nvidia_pickle(networks)), tmp_path / "ours")
    with pytest.raises(ValueError, match="mapping_lr_multiplier is 0.02"):
        export_rosinality(tmp_path / "ours", tmp_path / "back.pt")


@pytest.mark.slow
def test_rosinalitys_generator_of_full_width_gives_its_pictures(tmp_path):
    shapes = json.loads((FIXTURES / "rosinality-generator-64.json").read_text())
    state = {k: original_tensor(k, s) for k, s in shapes["state_dict_shapes"].items()}
    for key in state:
        if key.endswith("kernel"):
            state[key] = FIR * 4
    gan = convert(saved(tmp_path, {"g_ema": state})).networks["gan"]
    data = np.load(FIXTURES / "rosinality-generator-64.npz")
    with torch.no_grad():
        z = torch.from_numpy(data["z"].astype(np.float32))
        assert_reproduces(gan(z), data["image_from_z"])
