"""Run by test_hub.py in a process of its own: HF_ENDPOINT must be set before anything is
imported."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from fake_hub import FakeHub  # noqa: E402


def main(home):
    with FakeHub() as hub:
        os.environ.update(
            HF_ENDPOINT=hub.address,
            HF_HOME=home,
            HF_TOKEN="hf_test",
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
        )
        os.environ.pop("HF_HUB_OFFLINE", None)
        import torch
        from test_pipelines import tiny_pipeline

        from inpaint_hub import InvertFillEncoder, InvertFillPipeline, load_pipeline

        pipe = tiny_pipeline()
        pipe.push_to_hub("me/tiny")
        files = hub.repositories["me/tiny"]
        expected = {"model_index.json", "config.json", "README.md", "encoder/model.safetensors"}
        assert expected <= set(files), sorted(files)
        assert b"library_name: inpaint_hub" in files["README.md"], files["README.md"]
        pipe.push_to_hub("me/tiny", variant="fp16")
        assert "encoder/model.fp16.safetensors" in files

        def same(other):
            return all(
                torch.equal(a, b)
                for a, b in zip(
                    pipe.encoder.state_dict().values(), other.encoder.state_dict().values()
                )
            )

        assert same(InvertFillPipeline.from_pretrained("me/tiny"))
        assert same(load_pipeline("me/tiny"))
        hub.downloads.clear()
        commit = hub.commit_of(files)
        assert same(InvertFillPipeline.from_pretrained("me/tiny", revision=commit))
        assert same(InvertFillPipeline.from_pretrained("me/tiny", local_files_only=True))
        assert not any(f.endswith("safetensors") for f in hub.downloads), hub.downloads
        assert same(InvertFillPipeline.from_pretrained("me/tiny", variant="fp16"))
        encoder = InvertFillEncoder.from_pretrained("me/tiny", subfolder="encoder")
        assert torch.equal(encoder.w_avg, pipe.encoder.w_avg)
        own = InvertFillPipeline.from_pretrained("me/tiny", encoder=encoder)
        assert own.encoder is encoder
        pipe.encoder.push_to_hub("me/encoder")
        InvertFillEncoder.from_pretrained("me/encoder")
        try:
            InvertFillEncoder.from_pretrained("me/nothing")
        except Exception as error:
            print(type(error).__name__)
        else:
            raise AssertionError("a repository that does not exist was loaded")
    # The Hub is gone: what is cached still loads.
    assert same(InvertFillPipeline.from_pretrained("me/tiny", local_files_only=True))
    print("round trip complete")


if __name__ == "__main__":
    main(sys.argv[1])
