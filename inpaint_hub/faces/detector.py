"""Where faces are in a photo: MTCNN's cascade (Zhang et al., 2016) in plain PyTorch.

Everything happens on this machine; nobody is recognized, and nothing is kept.
"""

import math
from typing import NamedTuple, Self

import numpy as np
import torch
from torch.nn import functional as F

from inpaint_hub.crops import cut
from inpaint_hub.faces.alignment import frame_of
from inpaint_hub.faces.networks import OutputNet, ProposalNet, RefinementNet
from inpaint_hub.hub import HubModel

CELL_PX, STRIDE_PX = 12, 2  # what P-net sees at a place, and how far places are apart
SHRINK = 0.709  # from one size of face to the next: half the area (the authors' factor)
SAME_SIZE, ALL_SIZES, CONTAINED = 0.5, 0.7, 0.7  # overlaps above which one of two boxes goes
BOX_SIDE = 0.87  # of the training frame's side: how large O-net's squares are about such faces
MAX_PROPOSALS = 400  # crowds of more cost time and are no portraits


class Face(NamedTuple):
    """box: (left, top, right, bottom) in px of the photo, may reach past its border. points: of the
    left and right eye (as the viewer sees them), the nose, the left and right corner of the mouth:
    five (x, y) in px. score: how sure the last network is, in [0,1]."""

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    score: float

    @property
    def side(self) -> float:
        """The longer side of the box in px."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    def moved(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Self:
        """The same face where the picture is enlarged by `scale` and then shifted."""
        left, top, right, bottom = self.box
        box = (left * scale + dx, top * scale + dy, right * scale + dx, bottom * scale + dy)
        points = tuple((x * scale + dx, y * scale + dy) for x, y in self.points)
        return self._replace(box=box, points=points)


class FaceDetector(HubModel):
    """Finds faces and five points of each: P-, R- and O-net, each looking closer at what the one
    before it let through."""

    def __init__(
        self,
        *,
        proposal_threshold: float = 0.6,
        refinement_threshold: float = 0.7,
        output_threshold: float = 0.8,
    ) -> None:
        super().__init__()
        self.thresholds = (proposal_threshold, refinement_threshold, output_threshold)
        self.proposal, self.refinement = ProposalNet(), RefinementNet()
        self.output = OutputNet()

    @torch.no_grad()
    def forward(self, pixels: np.ndarray, min_face_px: float = 24) -> list[Face]:
        """[Face] of uint8 [H,W,3], the surest first; faces below min_face_px are passed over."""
        image = torch.from_numpy(np.array(pixels)).to(self.device, self.dtype)
        image = (image.permute(2, 0, 1)[None] - 127.5) / 128
        boxes = self._proposed(image, max(min_face_px, CELL_PX))
        for network, side, threshold in (
            (self.refinement, 24, self.thresholds[1]),
            (self.output, 48, self.thresholds[2]),
        ):
            if not len(boxes):
                return []
            boxes = squared(boxes)
            scores, offsets, *points = (
                part.float().cpu().numpy() for part in network(self._cut(image, boxes, side))
            )
            kept = np.flatnonzero(scores > threshold)
            squares, scores = boxes[kept], scores[kept]
            boxes = moved(squares, offsets[kept])
            if not points:
                best = suppressed(boxes, scores, ALL_SIZES)
                boxes = boxes[best]
        size = (squares[:, 2:] - squares[:, :2])[:, None]
        places = squares[:, None, :2] + as_places(points[0][kept]) * size
        stay = suppressed(boxes, scores, CONTAINED, of_the_smaller=True)
        places = self._set_upright(pixels, places[stay])
        return [
            Face(tuple(boxes[i].tolist()), tuple(map(tuple, five.tolist())), float(scores[i]))
            for i, five in zip(stay, places)
        ]

    def _set_upright(self, pixels: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The points [n,5,2] as O-net sees them when each face is turned upright: it has learned
        from upright ones, and is a tenth of the eyes' distance off at 45 degrees otherwise."""
        if not len(places):
            return places
        frames = [frame_of(five) for five in places]
        squares = [f._replace(side=f.side * BOX_SIDE) for f in frames]
        cuts = np.stack([cut(pixels, square, 48) for square in squares])
        image = torch.from_numpy(cuts).to(self.device, self.dtype).permute(0, 3, 1, 2)
        seen = as_places(self.output((image - 127.5) / 128)[2].float().cpu().numpy())
        return np.stack([square.to_picture(five) for square, five in zip(squares, seen)])

    def _proposed(self, image: torch.Tensor, min_face_px: float) -> np.ndarray:
        """Boxes [n,4] that P-net lets through, over all sizes of faces."""
        height, width = image.shape[2:]
        found, certain = [np.empty((0, 4))], [np.empty(0)]
        scale = CELL_PX / min_face_px
        while min(height, width) * scale >= CELL_PX:
            size = math.ceil(height * scale), math.ceil(width * scale)
            probability, offsets = self.proposal(F.interpolate(image, size, mode="area"))
            rows, columns = torch.nonzero(probability[0] >= self.thresholds[0], as_tuple=True)
            score = probability[0, rows, columns].float().cpu().numpy()
            offset = offsets[0, :, rows, columns].T.float().cpu().numpy()
            corner = torch.stack([columns, rows], dim=1).cpu().numpy() * STRIDE_PX
            scales = np.array([size[1] / width, size[0] / height])
            boxes = np.hstack([corner / scales, (corner + CELL_PX) / scales])
            best = suppressed(boxes, score, SAME_SIZE)
            found.append(moved(boxes, offset)[best])
            certain.append(score[best])
            scale *= SHRINK
        boxes, score = np.concatenate(found), np.concatenate(certain)
        return boxes[suppressed(boxes, score, ALL_SIZES)][:MAX_PROPOSALS]

    def _cut(self, image: torch.Tensor, boxes: np.ndarray, side: int) -> torch.Tensor:
        """The boxes [n,4] of the picture as [n,3,side,side]; black past its border."""
        height, width = image.shape[2:]
        squares = []
        for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
            right, bottom = max(right, left + 1), max(bottom, top + 1)
            inside = image[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
            border = (
                min(max(-left, 0), right - left),
                min(max(right - width, 0), right - left),
                min(max(-top, 0), bottom - top),
                min(max(bottom - height, 0), bottom - top),
            )
            whole = F.pad(inside, border, value=-127.5 / 128) if any(border) else inside
            squares.append(F.interpolate(whole, (side, side), mode="area"))
        return torch.cat(squares)


def as_places(points: np.ndarray) -> np.ndarray:
    """O-net's points [n,10] -> (x, y) in shares of the square's side, [n,5,2]."""
    return points.reshape(-1, 2, 5).transpose(0, 2, 1)


def squared(boxes: np.ndarray) -> np.ndarray:
    """Boxes [n,4] as squares about the same centers, as long as their longer sides."""
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    half = size.max(axis=1, keepdims=True) / 2
    return np.hstack([center - half, center + half])


def moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Boxes [n,4] with their corners moved by `offsets` [n,4], in shares of their own size."""
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return boxes + offsets * size


def suppressed(
    boxes: np.ndarray, scores: np.ndarray, most: float, of_the_smaller: bool = False
) -> list[int]:
    """Indices of the boxes that stay, the surest first: none overlaps a surer one by more than
    `most` of their union (or of the smaller of the two)."""
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        whole = (
            np.minimum(area[best], area[order])
            if of_the_smaller
            else area[best] + area[order] - shared
        )
        order = order[shared <= most * np.maximum(whole, 1e-9)]
    return kept
