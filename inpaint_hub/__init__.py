"""Image inpainting by GAN inversion: large holes, filled in one forward pass.

The package reads in the order the data flows: `images` and `masks` (what users give) ->
`compositing` -> `inversion`, `invertfill` (encoders) -> `stylegan2` (generator) -> `pipelines`,
which join them. `losses`, `data`, `training` serve training, `evaluation` judging, `hub` storing.

Importing is light: names are loaded when they are first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "FWLatent": "invertfill",
    "HubModel": "hub",
    "InpaintOutput": "pipelines",
    "InpaintPipeline": "pipelines",
    "InvertFillEncoder": "invertfill",
    "InvertFillPipeline": "pipelines",
    "PSPEncoder": "inversion",
    "PSPPipeline": "pipelines",
    "StyleGAN2Discriminator": "stylegan2",
    "StyleGAN2Generator": "stylegan2",
    "StyleGAN2Pipeline": "pipelines",
    "load_pipeline": "pipelines",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'inpaint_hub' has no attribute {name!r}; it has {__all__}")
    value = getattr(import_module(f"inpaint_hub.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
