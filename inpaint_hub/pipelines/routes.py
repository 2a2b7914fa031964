"""Which model fills which hole of any photo, and why."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inpaint_hub import crops
from inpaint_hub.faces import MIN_FACE_PX, Face, FaceDetector, find_faces, frame_of
from inpaint_hub.images import Picture
from inpaint_hub.texture import TRUSTED

FACES = ("auto", "always", "never")
# A hole that hides so much of a face, and lies so far beyond its frame or leaves so little of it,
# is there to take a person away.
HIDDEN, BEYOND, LEFT = 0.9, 0.3, 0.1
AROUND_FACE = 0.25  # of a face's side: hair, and what belongs to nobody else
Box = tuple[float, float, float, float]  # (left, top, right, bottom) in px


class Route(NamedTuple):
    """What fills one hole, and why.

    picture: index of the picture. box: (left, top, right, bottom) of the hole in px, the last two
    exclusive. route: "faces", "photos", or "texture" where the photo's own texture was better than
    what the model of photos knows. reason: a sentence for the user. face: box of the face that the
    hole touches, in px, or None.
    """

    picture: int
    box: Box
    route: str
    reason: str
    face: Box | None = None

    @property
    def sentence(self) -> str:
        """The same in words."""
        left, top, right, bottom = self.box
        by = {"texture": "the photo's own texture"}.get(self.route, f"the model of {self.route}")
        return (
            f"Hole of {right - left} x {bottom - top} px at ({left}, {top}): {by}; {self.reason}."
        )


class Plan(NamedTuple):
    """routes of one picture, one for each of its `parts`, the crops.Holes; frames: [OwnWindow] of
    the faces whose holes the model of faces fills; by_faces: bool [H,W], which pixels these are
    (None: none); faces: boxes of all faces found."""

    routes: list[Route]
    parts: list[crops.Hole]
    frames: list[crops.OwnWindow]
    by_faces: np.ndarray | None
    faces: list[Box]

    def unwanted(self, shape: tuple[int, int]) -> np.ndarray | None:
        """bool (H, W), the faces with what surrounds them: nobody is to appear twice. None: no
        faces."""
        if not self.faces:
            return None
        barred = np.zeros(shape, bool)
        for left, top, right, bottom in self.faces:
            more = AROUND_FACE * max(right - left, bottom - top)
            rows = slice(max(round(top - more), 0), max(round(bottom + more), 0))
            barred[rows, max(round(left - more), 0) : max(round(right + more), 0)] = True
        return barred


def check_choice(faces: str) -> None:
    """Raises: ValueError for what is none of FACES."""
    if faces not in FACES:
        raise ValueError(f"faces is {faces!r}, expected one of {FACES}")


def plan_of(
    detector: FaceDetector, index: int, picture: Picture, hole: np.ndarray, choice: str
) -> Plan:
    """Plan of picture number `index` with hole bool [H,W]; choice: one of FACES."""
    found = []
    if choice != "never" and hole.any():
        found = find_faces(detector, picture.pixels, hole)
    frames = [frame_of(face.points) for face in found]
    routes, chosen, holes = [], {}, crops.separate_holes(hole)
    for part in holes:
        touched = [k for k, face in enumerate(found) if touches(part, face.box)]
        wanted, route = _route(index, part, touched, found, frames, choice)
        routes.append(route)
        for k in wanted:
            chosen.setdefault(k, []).append(part)
    taken, windows = np.zeros_like(hole), []
    for k, parts in chosen.items():
        window = crops.whole_window(hole)[0] if k is None else frames[k]
        slices = crops.window_slices(window, hole.shape)
        own = np.zeros_like(taken)
        for part in parts:
            own[part.part] |= part.own & crops.inside(window, part.part)
        own = own[slices] & ~taken[slices]
        taken[slices] |= own
        if own.any():
            windows.append(crops.OwnWindow(window, own))
    boxes = [face.box for face in found]
    return Plan(routes, holes, windows, taken if windows else None, boxes)


def _route(
    index: int,
    part: crops.Hole,
    touched: list[int],
    found: list[Face],
    frames: list[crops.TurnedWindow],
    choice: str,
) -> tuple[Sequence[int | None], Route]:
    """(keys of the frames that fill the hole, None being the whole picture; its Route)."""

    def told(route: str, reason: str, face: Box | None = None) -> Route:
        return Route(index, part.box, route, reason, face)

    large = [k for k in touched if found[k].side >= MIN_FACE_PX]
    for k in sorted(large, key=lambda k: -found[k].side):
        hidden, beyond, left = shares(part, found[k].box, frames[k])
        if choice == "auto" and hidden > HIDDEN and (beyond > BEYOND or left < LEFT):
            reason = f"hides all of a face, {found[k].side:.0f} px high: taken for its removal"
            return [], told("photos", reason, found[k].box)
    if large:
        largest = max(large, key=lambda k: found[k].side)
        count = "a face" if len(large) == 1 else f"{len(large)} faces"
        reason = f"touches {count}, {found[largest].side:.0f} px high"
        return large, told("faces", reason, found[largest].box)
    if choice == "always":
        return [None], told("faces", "no face found here; the whole picture counts as one")
    if choice == "never":
        return [], told("photos", "faces were not looked for")
    if touched:
        side = max(found[k].side for k in touched)
        reason = f"touches a face of {side:.0f} px only, below {MIN_FACE_PX} px"
        return [], told("photos", reason, found[touched[0]].box)
    return [], told("photos", "touches no face" if found else "no face in the picture")


def touches(hole: crops.Hole, box: Box) -> bool:
    """Whether a crops.Hole has a pixel in the box."""
    return bool(_inside_box(hole, box).any())


def _inside_box(hole: crops.Hole, box: Box) -> np.ndarray:
    left, top, right, bottom = (round(side) for side in box)
    x, y = max(left - hole.box[0], 0), max(top - hole.box[1], 0)
    return hole.own[y : max(bottom - hole.box[1], 0), x : max(right - hole.box[0], 0)]


def shares(hole: crops.Hole, box: Box, frame: crops.TurnedWindow) -> tuple[float, float, float]:
    """(share of a face's box that the hole hides, share of the hole outside the face's frame, share
    of the frame that the hole leaves)."""
    area = max((box[2] - box[0]) * (box[3] - box[1]), 1)
    within = (hole.own & crops.inside(frame, hole.part)).sum()
    hidden = _inside_box(hole, box).sum() / area
    return float(hidden), float(1 - within / hole.own.sum()), float(1 - within / frame.side**2)


def with_textures(plan: Plan, textures: list, shape: tuple[int, int]) -> Plan:
    """The plan whose routes say where the photo's texture was better than the model of photos, and
    the other half of a face better than the model of faces."""
    copied, known_kind, again, mirrored = (np.zeros(shape, bool) for _ in range(4))
    for (part, own), (choice, scores) in textures:
        if choice in ("patches", "periodic"):
            copied[part] |= own
            known_kind[part] |= own & (scores.get("unexplained", 1) < TRUSTED)
            again[part] |= own & (choice == "periodic")
        if choice == "mirrored":
            mirrored[part] |= own
    routes = list(plan.routes)
    for k, (route, hole) in enumerate(zip(plan.routes, plan.parts)):
        if route.route == "faces" and (mirrored[hole.part] & hole.own).any():
            routes[k] = route._replace(reason=f"{route.reason}; its other half is mirrored")
        if route.route == "photos" and (copied[hole.part] & hole.own).any():
            told = "the model of photos misses too much of what lies around it"
            if (known_kind[hole.part] & hole.own).any():
                told = "sharper than the model of photos, which leads its colors"
            if (again[hole.part] & hole.own).any():
                told = "it repeats itself"
            routes[k] = route._replace(route="texture", reason=f"{route.reason}; {told}")
    return plan._replace(routes=routes)
