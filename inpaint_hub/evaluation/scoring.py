"""Everything that is measured on one picture, and on the set of all."""

import hashlib
import itertools

import numpy as np
import torch

from inpaint_hub.evaluation.frechet import frechet_interval, frechet_of_features, kernel_distance
from inpaint_hub.evaluation.metrics import (
    color_shift_percent,
    cosine_distance,
    l1_percent,
    psnr,
    seam_ratio,
    sharpness_ratio,
    ssim,
)

UNKNOWN_GRAY = 128  # known pixels, where only what fills the hole is compared
LPIPS_NETWORK = "alex"  # the field's norm (SPEC A12)
LPIPS = f"lpips_{LPIPS_NETWORK}"
SHIFTS = ("shift_red_percent", "shift_green_percent", "shift_blue_percent")
FID, KID = "fid_inception", "kid_inception"
# Not there; weights not to be downloaded; a torchvision built for another torch.
OPTIONAL_ERRORS = (ImportError, OSError, RuntimeError)


class Scorer:
    """{metric: value} of composited pictures; names of learned metrics carry their network.

    network: FeatureNetwork or None. num_samples: fills of one hole compared for diversity. device:
    where LPIPS' network and, of a GPU, Inception run.
    `unavailable` is {metric: why} of what this machine cannot measure.
    """

    def __init__(self, network=None, num_samples=1, device="cpu"):
        self.network, self.num_samples, self.unavailable = network, num_samples, {}
        self.device = torch.device(device)
        self.lpips = self._load_lpips()
        self.original_features = {}

    @property
    def identity(self):
        """Changes with what would be measured."""
        network = self.network and f"{self.network.name} {self.network.digest}"
        return f"scores 4, {network}, lpips {self.lpips is not None}, {self.num_samples} samples"

    def score(self, result, original, mask):
        """(values, features) of one composite and its original, uint8 [s,s,3], and the mask, bool
        [s,s]; features float32 [D] or None."""
        values = {
            "psnr": psnr(result, original),
            "ssim": ssim(result, original),
            "l1_percent": l1_percent(result, original),
            "seam_ratio": seam_ratio(result, original, mask),
            "sharpness_ratio": sharpness_ratio(result, mask),
        }
        values |= zip(SHIFTS, color_shift_percent(result, original, mask))
        if self.lpips is not None:
            values[LPIPS] = self.lpips(result, original)
        if self.network is None:
            return values, None
        features = self.network(result[None])
        distance = cosine_distance(features, self.features_of(original)[None])
        values[f"{self.network.name}_distance"] = float(distance[0])
        return values, features[0]

    def features_of(self, original):
        """Features [D] of an original, made once however many bands and methods ask."""
        key = hashlib.sha256(original.tobytes()).digest()
        if key not in self.original_features:
            self.original_features[key] = self.network(original[None])[0]
        return self.original_features[key]

    def diversity(self, samples, mask):
        """{metric: mean distance of all pairs of samples}, each uint8 [s,s,3], inside the hole: the
        known pixels, bool [s,s] False, are gray in all."""
        shown = []
        for sample in samples:
            shown.append(np.where(mask[..., None], sample, np.uint8(UNKNOWN_GRAY)))
        features = np.concatenate([self.network(picture[None]) for picture in shown])
        a, b = zip(*itertools.combinations(range(len(samples)), 2))
        distance = cosine_distance(features[list(a)], features[list(b)])
        return {f"diversity_{self.network.name}": float(distance.mean())}

    def set_distances(self, features, original_features):
        """{metric: summary} of all pictures of a band together: Frechet and kernel distance of
        features [N,D] to the originals', paired by row. Empty for fewer than two pictures."""
        if self.network is None or len(features) < 2:
            return {}
        value = frechet_of_features(features, original_features)
        low, high = frechet_interval(features, original_features)
        kernel, kernel_low, kernel_high = kernel_distance(features, original_features)
        name, count = self.network.name, len(features)
        return {
            f"fd_{name}": _summary(value, low, high, count),
            f"kid_{name}": _summary(kernel, kernel_low, kernel_high, count),
        }

    def inception_distances(self, results, originals):
        """{metric: summary}, without intervals, of FID and KID by torch-fidelity where it and its
        network's weights are there, else {} (and `unavailable` says why).

        results, originals: functions of an index -> uint8 [s,s,3], with a length.
        """
        try:
            import torch_fidelity
        except OPTIONAL_ERRORS as error:
            reason = f"torch-fidelity does not import ({error})"
            self.unavailable |= {FID: reason, KID: reason}
            return {}
        if FID in self.unavailable:
            return {}
        try:
            values = torch_fidelity.calculate_metrics(
                input1=_Tensors(results),
                input2=_Tensors(originals),
                fid=True,
                kid=True,
                kid_subset_size=min(1000, len(results)),
                cuda=self.device.type == "cuda",
                cache=False,
                verbose=False,
            )
        except (*OPTIONAL_ERRORS, ValueError) as error:
            reason = f"torch-fidelity failed: {error}"
            self.unavailable |= {FID: reason, KID: reason}
            return {}
        return {
            FID: _summary(values[torch_fidelity.KEY_METRIC_FID], None, None, len(results)),
            KID: _summary(values[torch_fidelity.KEY_METRIC_KID_MEAN], None, None, len(results)),
        }

    def _load_lpips(self):
        """Function of two uint8 [s,s,3] -> LPIPS (Zhang et al., 2018), or None."""
        try:
            import lpips

            network = lpips.LPIPS(net=LPIPS_NETWORK, verbose=False).eval().to(self.device)
        except OPTIONAL_ERRORS as error:
            self.unavailable[LPIPS] = f"the lpips package or its network does not load ({error})"
            return None

        def distance(result, original):
            pair = np.stack([result, original]).astype(np.float32) / 127.5 - 1
            a, b = torch.from_numpy(pair).to(self.device).permute(0, 3, 1, 2).split(1)
            with torch.no_grad():
                return float(network(a, b))

        return distance


class _Tensors(torch.utils.data.Dataset):
    """uint8 [3,s,s] of pictures, as torch-fidelity reads them."""

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return torch.from_numpy(np.array(self.pictures[index])).permute(2, 0, 1)


def _summary(mean, low, high, num_images):
    return {"mean": float(mean), "low": low, "high": high, "num_images": num_images}
