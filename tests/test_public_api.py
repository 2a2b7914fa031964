"""What users may rely on: the names, their documentation, their arguments."""

import inspect

import pytest

import inpaint_hub

NAMES = {
    "AutoInpaintOutput",
    "AutoInpaintPipeline",
    "FaceDetector",
    "DualPathInpainter",
    "DualPathOutput",
    "DualPathPipeline",
    "FeedForwardPipeline",
    "FillMixer",
    "CoModGANGenerator",
    "CoModGANPipeline",
    "CoarseToFinePipeline",
    "FWLatent",
    "HubModel",
    "InpaintOutput",
    "InpaintPipeline",
    "InvertFillEncoder",
    "InvertFillPipeline",
    "LahiriEncoder",
    "LahiriPipeline",
    "MGANPriorPipeline",
    "PSPBlendPipeline",
    "PSPEncoder",
    "PSPPipeline",
    "Refiner",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "StyleGAN2Pipeline",
    "WPlusSearchPipeline",
    "YehPipeline",
    "default_pipeline",
    "load_pipeline",
    "outpainting_pipeline",
    "paintings_pipeline",
}
MODELS = [
    "DualPathInpainter",
    "CoModGANGenerator",
    "FaceDetector",
    "LahiriEncoder",
    "InvertFillEncoder",
    "PSPEncoder",
    "Refiner",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
]


def test_the_public_names_are_these():
    assert set(inpaint_hub.__all__) == NAMES | {"__version__"}
    assert set(dir(inpaint_hub)) == set(inpaint_hub.__all__)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(inpaint_hub, name)
    assert thing.__doc__ and len(thing.__doc__.split()) > 4


def test_unknown_names_are_errors_that_list_the_known_ones():
    with pytest.raises(AttributeError, match="InvertFillPipeline"):
        inpaint_hub.Inpainter  # noqa: B018


@pytest.mark.parametrize("name", MODELS)
def test_model_arguments_are_keywords_with_plain_types(name):
    parameters = list(inspect.signature(getattr(inpaint_hub, name).__init__).parameters.values())[
        1:
    ]
    assert parameters
    for parameter in parameters:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.annotation in (int, float, bool, str, int | None, list[int] | None)
