"""The photo's own texture in the fill: the network says what belongs into a hole, at its own
resolution; the photo's known pixels say how that looks at theirs. Only the mixing is learned.

Barnes, Shechtman, Finkelstein, Goldman, "PatchMatch", SIGGRAPH 2009 (the engine: PyPatchMatch).
Wexler, Shechtman, Irani, "Space-Time Completion of Video", PAMI 2007 (search and vote).
Yi, Tang, Azizi, Jang, Xu, "Contextual Residual Aggregation", CVPR 2020 (the detail).
Pritch, Kav-Venaki, Peleg, "Shift-Map Image Editing", ICCV 2009 (the copies).
He, Sun, "Statistics of Patch Offsets for Image Completion", ECCV 2012 (their offsets).
Zhang, Barnes, Hampp, Paris, Shechtman, Shi, "Inpainting at Modern Camera Resolution by Guided
PatchMatch with Auto-Curation", ECCV 2022 (guide and curation).
Burt, Adelson, "A Multiresolution Spline With Application to Image Mosaics", ACM TOG 1983 (mixing).

    fill, at the network's resolution --detail--> the same, with the residuals of the photo
    known pixels --patches--> copies of the photo, led by the fill or not
                 both copies and the fill --mixing--> one, where a pipeline carries a mixer
                 all candidates --curation--> the one to show

| word | meaning | shape, range |
| --- | --- | --- |
| fill | the network's picture, enlarged, hole and surroundings | float32 [H,W,3] in [0,1] |
| known | the photo; the hole's content is never read | uint8 [H,W,3] |
| hole | all that is not known | bool [H,W] |
| own | what is to be filled here, a part of the hole | bool [H,W] |
| cell_px | side of one of the network's pixels | px of the photo |

Textures are of 8 bits, as the engine's pictures are, whatever the photo's depth.
"""

from inpaint_hub.texture.curation import TEXTURES, TRUSTED, Textured, textured
from inpaint_hub.texture.detail import with_detail
from inpaint_hub.texture.mixing import FillMixer, mixed
from inpaint_hub.texture.patches import copied, engine_problem, engine_version
from inpaint_hub.texture.windows import textured_windows

__all__ = [
    "TEXTURES",
    "TRUSTED",
    "FillMixer",
    "Textured",
    "copied",
    "engine_problem",
    "engine_version",
    "mixed",
    "textured",
    "textured_windows",
    "with_detail",
]
