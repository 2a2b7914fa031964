"""What any network has to beat: OpenCV's two classical fillers (OpenCV is optional), and copies of
the picture's own patches."""

import numpy as np

from inpaint_hub.texture import copied, engine_problem, engine_version

RADIUS_PX = 3


def telea(pixels, mask):
    """OpenCV's fast-marching inpainting (Telea, 2004) of uint8 [H,W,3] in the hole, bool [H,W].

    Raises: ModuleNotFoundError without OpenCV.
    """
    return _inpaint(pixels, mask, "INPAINT_TELEA")


def navier_stokes(pixels, mask):
    """OpenCV's Navier-Stokes inpainting (Bertalmio et al., 2001) of uint8 [H,W,3] in the hole,
    bool [H,W].

    Raises: ModuleNotFoundError without OpenCV.
    """
    return _inpaint(pixels, mask, "INPAINT_NS")


def patchmatch(pixels, mask):
    """PyPatchMatch's unguided copies (Barnes et al., 2009) of uint8 [H,W,3] in the hole, bool
    [H,W]; as the picture is where nothing is known.

    Raises: ModuleNotFoundError where the engine does not load.
    """
    problem = engine_problem()
    if problem:
        raise ModuleNotFoundError(problem)
    return copied(pixels, mask, mask) if mask.any() and not mask.all() else pixels


def version_of(function):
    """What the results of a filler depend on: the library, its version, the settings.

    Raises: ModuleNotFoundError without the library.
    """
    if function is patchmatch:
        return f"PyPatchMatch {engine_version()}"
    return f"radius {RADIUS_PX} px, OpenCV {opencv().__version__}"


def _inpaint(pixels, mask, method):
    cv2 = opencv()
    return cv2.inpaint(pixels, mask.astype(np.uint8) * 255, RADIUS_PX, getattr(cv2, method))


def opencv():
    """The module cv2.

    Raises: ModuleNotFoundError without OpenCV.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "OpenCV is not installed; --telea and --navier_stokes fill with it; pip install -r "
            "requirements-dev.txt"
        ) from error
    return cv2
