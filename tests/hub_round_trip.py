"""Run by test_hub.py in a process of its own: HF_ENDPOINT must be set before anything else.

Each function states one fact about repositories on the Hub; all run in order on one fake Hub.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from fake_hub import FakeHub  # noqa: E402

PIPELINE_FILES = {
    "model_index.json", "config.json", "README.md", "encoder/config.json",
    "encoder/model.safetensors", "encoder/README.md", "gan/config.json", "gan/model.safetensors",
    "gan/README.md",
}  # fmt: skip


def same(a, b):
    import torch

    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def same_pipeline(a, b):
    return type(a) is type(b) and same(a.encoder, b.encoder) and same(a.gan, b.gan)


def message_of(call, *arguments, **options):
    """Of the FileNotFoundError that the call must end in."""
    try:
        call(*arguments, **options)
    except FileNotFoundError as error:
        return str(error)
    raise AssertionError(f"{call} accepted {arguments}, {options}")


def pushed_pipelines_load_by_every_way(hub, pipe, home):
    from inpaint_hub import InvertFillEncoder, InvertFillPipeline, load_pipeline

    pipe.push_to_hub("me/tiny")
    files = hub.repositories["me/tiny"]
    assert set(files) == PIPELINE_FILES, sorted(files)
    assert b"library_name: inpaint_hub" in files["README.md"]
    assert b'from_pretrained("me/tiny")' in files["README.md"]
    assert same_pipeline(pipe, load_pipeline("me/tiny"))
    assert "config.json" in hub.downloads  # by which the Hub counts downloads

    hub.downloads.clear()
    commit = hub.commit_of(files)
    for where in ({}, {"revision": commit}, {"local_files_only": True}):
        assert same_pipeline(pipe, InvertFillPipeline.from_pretrained("me/tiny", **where)), where
    encoder = InvertFillEncoder.from_pretrained("me/tiny", subfolder="encoder")
    assert InvertFillPipeline.from_pretrained("me/tiny", encoder=encoder).encoder is encoder
    assert not any(name.endswith("safetensors") for name in hub.downloads), hub.downloads


def variants_are_pushed_beside_the_plain_files_and_read_by_name(hub, pipe, home):
    from inpaint_hub import InvertFillPipeline

    pipe.push_to_hub("me/tiny", variant="fp16")
    added = set(hub.repositories["me/tiny"]) - PIPELINE_FILES
    assert added == {"encoder/model.fp16.safetensors", "gan/model.fp16.safetensors"}, added
    assert same_pipeline(pipe, InvertFillPipeline.from_pretrained("me/tiny", variant="fp16"))
    pipe.push_to_hub("me/only-fp16", variant="fp16")
    assert same_pipeline(pipe, InvertFillPipeline.from_pretrained("me/only-fp16", variant="fp16"))
    message = message_of(InvertFillPipeline.from_pretrained, "me/only-fp16")
    assert "no model.safetensors" in message and "model.fp16.safetensors" in message, message


def a_pipeline_for_any_photo_is_one_whole_repository(hub, pipe, home):
    from inpaint_hub import AutoInpaintPipeline, FaceDetector, load_pipeline

    auto = AutoInpaintPipeline(faces=pipe, photos=pipe, detector=FaceDetector())
    auto.push_to_hub("me/auto")
    files = set(hub.repositories["me/auto"])
    assert {"model_index.json", "config.json", "README.md", "faces/gan/model.safetensors",
            "photos/encoder/config.json", "detector/model.safetensors"} <= files  # fmt: skip
    for load in (load_pipeline, AutoInpaintPipeline.from_pretrained):
        loaded = load("me/auto")
        assert same_pipeline(pipe, loaded.faces) and same_pipeline(pipe, loaded.photos)
        assert same(auto.detector, loaded.detector)
    assert type(load_pipeline("me/auto", local_files_only=True)) is AutoInpaintPipeline


def shards_come_down_together(hub, pipe, home):
    from inpaint_hub import InvertFillPipeline, StyleGAN2Generator

    pipe.push_to_hub("me/shards", max_shard_size="50KB")
    assert "gan/model.safetensors.index.json" in hub.repositories["me/shards"]
    assert same_pipeline(pipe, InvertFillPipeline.from_pretrained("me/shards"))
    assert same(pipe.gan, StyleGAN2Generator.from_pretrained("me/shards", subfolder="gan"))


def saving_with_push_uploads_the_pipeline_and_nothing_beside_it(hub, pipe, home):
    folder = Path(home) / "run"
    (folder / "checkpoint-10").mkdir(parents=True)
    (folder / "checkpoint-10" / "secret.txt").write_text("not to be uploaded")
    pipe.save_pretrained(folder, push_to_hub=True, repo_id="me/private", private=True)
    assert set(hub.repositories["me/private"]) == PIPELINE_FILES
    visibility = hub.created[-1].get("visibility") or hub.created[-1].get("private")
    assert visibility in ("private", True), hub.created[-1]


def cards_that_someone_wrote_are_kept(hub, pipe, home):
    files = hub.repositories["me/tiny"]
    files["README.md"] = files["encoder/README.md"] = b"# by hand"
    pipe.push_to_hub("me/tiny")
    assert files["README.md"] == b"# by hand"
    folder = Path(home) / "own-card"
    pipe.save_pretrained(folder)
    (folder / "README.md").write_text("# newer, by hand")
    pipe.save_pretrained(folder, push_to_hub=True, repo_id="me/tiny")
    assert files["README.md"] == b"# newer, by hand"


def single_models_have_repositories_of_their_own(hub, pipe, home):
    from inpaint_hub import InvertFillEncoder

    pipe.encoder.push_to_hub("me/encoder")
    assert same(pipe.encoder, InvertFillEncoder.from_pretrained("me/encoder"))
    pipe.encoder.push_to_hub("me/encoder", variant="ema")
    assert "model.ema.safetensors" in hub.repositories["me/encoder"]
    assert same(pipe.encoder, InvertFillEncoder.from_pretrained("me/encoder", variant="ema"))
    folder = Path(home) / "encoder"
    pipe.encoder.save_pretrained(folder, variant="b", push_to_hub=True, repo_id="me/other")
    expected = {"config.json", "README.md", "model.b.safetensors"}
    assert set(hub.repositories["me/other"]) == expected == {p.name for p in folder.iterdir()}


def what_is_not_there_is_named_with_the_reason(hub, pipe, home):
    from inpaint_hub import InvertFillEncoder, InvertFillPipeline, load_pipeline

    for load in (load_pipeline, InvertFillPipeline.from_pretrained):
        for options in ({}, {"variant": "fp16"}):
            message = message_of(load, "me/nothing", **options)
            assert "me/nothing" in message and "no such repository" in message, message
        assert "model_index.json" in message_of(load, "me/encoder")
    load = InvertFillEncoder.from_pretrained
    assert "no such repository" in message_of(load, "me/nothing")
    assert "no such revision" in message_of(load, "me/encoder", revision="nightly")
    assert "model.nine.safetensors" in message_of(load, "me/encoder", variant="nine")


def diffusers_own_class_loads_a_repository_that_says_how(hub, pipe, home):
    from diffusers import DiffusionPipeline

    code = b"from inpaint_hub import InvertFillPipeline\n"
    hub.repositories["me/tiny"]["pipeline.py"] = code
    loaded = DiffusionPipeline.from_pretrained(
        "me/tiny", custom_pipeline="me/tiny", trust_remote_code=True
    )
    assert same_pipeline(pipe, loaded)


def a_finished_run_uploads_its_pipeline_card_and_samples(hub, pipe, home):
    from PIL import Image
    from training_runs import TINY

    from inpaint_hub import StyleGAN2Discriminator, StyleGAN2Generator
    from inpaint_hub.training import TrainConfig, train

    pictures = Path(home) / "pictures"
    pictures.mkdir()
    for gray in (50, 200):
        Image.new("L", (32, 32), gray).save(pictures / f"{gray}.png")
    run = {**TINY, "method": "stylegan2", "max_train_steps": 2, "validation_steps": 2}
    data = {"train_data_dir": str(pictures), "output_dir": str(Path(home) / "training")}
    push = {"push_to_hub": True, "hub_model_id": "me/trained", "hub_private_repo": True}
    train(TrainConfig(**run, **data, **push))
    files = hub.repositories["me/trained"]
    expected = {"model_index.json", "config.json", "README.md", "samples.png"}
    for name in ("gan", "discriminator"):
        expected |= {f"{name}/{file}" for file in ("config.json", "model.safetensors", "README.md")}
    assert set(files) == expected, sorted(files)
    assert hub.created[-1]["visibility"] == "private", hub.created[-1]
    card = files["README.md"].decode()
    assert "2 steps of 2 pictures, 4 in all" in card and "| channel_max | 8 |" in card, card
    assert str(home) not in card and "generator_loss" in card, card
    gan = StyleGAN2Generator.from_pretrained("me/trained", subfolder="gan")
    assert gan.resolution == 32
    StyleGAN2Discriminator.from_pretrained("me/trained", subfolder="discriminator")


def a_run_that_may_not_upload_ends_before_its_first_step(hub, pipe, home):
    from training_runs import TINY

    from inpaint_hub.training import TrainConfig, train

    hub.refused.add("not-mine")
    output_dir = Path(home) / "refused"
    run = {**TINY, "method": "stylegan2", "train_data_dir": str(Path(home) / "pictures")}
    push = {"push_to_hub": True, "hub_model_id": "me/not-mine", "output_dir": str(output_dir)}
    try:
        train(TrainConfig(**run, **push))
    except PermissionError as error:
        assert "'me/not-mine'" in str(error) and "hf auth login" in str(error), error
    else:
        raise AssertionError("trained for nothing")
    assert not list(output_dir.rglob("*.safetensors"))


def what_is_cached_loads_without_a_hub(pipe):
    from inpaint_hub import InvertFillEncoder, InvertFillPipeline

    local = {"local_files_only": True}
    assert same_pipeline(pipe, InvertFillPipeline.from_pretrained("me/tiny", **local))
    encoder = InvertFillEncoder.from_pretrained("me/encoder", variant="ema", **local)
    assert same(pipe.encoder, encoder)
    assert "connect once" in message_of(InvertFillPipeline.from_pretrained, "me/new", **local)


def main(home):
    with FakeHub() as hub:
        os.environ.update(
            HF_ENDPOINT=hub.address,
            HF_HOME=home,
            HF_TOKEN="hf_test",
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
        )
        os.environ.pop("HF_HUB_OFFLINE", None)
        from test_pipelines import tiny_pipeline

        pipe = tiny_pipeline()
        for fact in (
            pushed_pipelines_load_by_every_way,
            variants_are_pushed_beside_the_plain_files_and_read_by_name,
            a_pipeline_for_any_photo_is_one_whole_repository,
            shards_come_down_together,
            saving_with_push_uploads_the_pipeline_and_nothing_beside_it,
            cards_that_someone_wrote_are_kept,
            single_models_have_repositories_of_their_own,
            what_is_not_there_is_named_with_the_reason,
            diffusers_own_class_loads_a_repository_that_says_how,
            a_finished_run_uploads_its_pipeline_card_and_samples,
            a_run_that_may_not_upload_ends_before_its_first_step,
        ):
            fact(hub, pipe, home)
            print(fact.__name__)
    what_is_cached_loads_without_a_hub(pipe)
    print("round trip complete")


if __name__ == "__main__":
    main(sys.argv[1])
