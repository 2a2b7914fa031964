"""Image inpainting by GAN inversion: large holes, filled in one forward pass.

The map, in the order the data flows:

    images, masks       what users give <-> what networks read; holes drawn by hand or by rule
    crops               where a photo is cut around its holes, and how the fills go back
    faces               where faces are in a photo, and the frame they are filled in
    compositing         the masked picture, and the hard constraint: what is known stays
    inversion           feature pyramids, style heads, pSp's and Lahiri's encoders
    invertfill          InvertFill's encoder: pre-modulation, F&W+ latents, soft mean latent
    dualpath            Dual-path's auto-encoder, and the fusion of the generator's features
    refinement          a second network that makes any of their fills finer
    comodgan            a generator that the masked picture modulates together with z
    search              the code found by descent: W+, Yeh et al., mGANprior
    stylegan2           the generator, and its discriminator
    blending            seams inside the hole: feather, Laplacian, Poisson, Gaussian-Poisson
    pipelines           preprocess -> encode -> generate -> composite, as diffusers pipelines
    engines             the networks' fast forms: pipe.optimize()
    folders             many files at once: python -m inpaint_hub
    hub                 models on disk and on the Hugging Face Hub

    data, losses, training      only training needs them: train_accelerate.py
    evaluation                  only judging needs it: python -m inpaint_hub.evaluation

Importing is light: names are loaded when they are first used. The first pipeline class used loads
diffusers and registers HubModel with it.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "AutoInpaintOutput": "pipelines",
    "AutoInpaintPipeline": "pipelines",
    "FaceDetector": "faces",
    "DualPathInpainter": "dualpath",
    "DualPathOutput": "pipelines",
    "DualPathPipeline": "pipelines",
    "CoModGANGenerator": "comodgan",
    "CoModGANPipeline": "pipelines",
    "CoarseToFinePipeline": "pipelines",
    "FWLatent": "stylegan2",
    "FeedForwardPipeline": "pipelines",
    "FillMixer": "texture",
    "HubModel": "hub",
    "InpaintOutput": "pipelines",
    "InpaintPipeline": "pipelines",
    "InvertFillEncoder": "invertfill",
    "InvertFillPipeline": "pipelines",
    "LahiriEncoder": "inversion",
    "LahiriPipeline": "pipelines",
    "MGANPriorPipeline": "pipelines",
    "PSPBlendPipeline": "pipelines",
    "PSPEncoder": "inversion",
    "PSPPipeline": "pipelines",
    "Refiner": "refinement",
    "StyleGAN2Discriminator": "stylegan2",
    "StyleGAN2Generator": "stylegan2",
    "StyleGAN2Pipeline": "pipelines",
    "WPlusSearchPipeline": "pipelines",
    "YehPipeline": "pipelines",
    "default_pipeline": "pipelines",
    "load_pipeline": "pipelines",
    "outpainting_pipeline": "pipelines",
    "paintings_pipeline": "pipelines",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inpaint_hub' has no attribute {name!r}; it has {__all__}")
    value = getattr(import_module(f"inpaint_hub.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
