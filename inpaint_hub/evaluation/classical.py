"""OpenCV's two classical fillers, the floor any network has to beat. OpenCV is optional."""

import numpy as np

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
