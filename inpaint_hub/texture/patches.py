"""The hole as copies of the photo's own patches, by PyPatchMatch.

Mao, Schouviller, Wild, "PyPatchMatch" (MIT): a PatchMatch pyramid with search and vote.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

PATCH_RADIUS_PX = 3  # 2, 5 and 7 were no better on train photos, 5 twice and 7 seven times slower
INSTALL = 'pip install "pypatchmatch>=2.2,<3"'


class Turns:
    """Calls of the engine with the same seed run side by side, others one after another: its seed
    is one for the whole process and read when a call begins."""

    def __init__(self) -> None:
        self._ended = threading.Condition()
        self._seeds = []  # of the calls that run, all the same

    @contextmanager
    def of(self, seed: int) -> Iterator[None]:
        with self._ended:
            self._ended.wait_for(lambda: seed in self._seeds or not self._seeds)
            self._seeds.append(seed)
        try:
            yield
        finally:
            with self._ended:
                self._seeds.remove(seed)
                self._ended.notify_all()


TURNS = Turns()


def engine_problem() -> str | None:
    """Why PyPatchMatch cannot be used here and what to do, or None where it can."""
    try:
        import patchmatch
    except ImportError as error:
        return f"PyPatchMatch is not installed ({error}); {INSTALL}"
    if not patchmatch.patchmatch_available:
        return (
            "PyPatchMatch is installed but its library does not load on this machine; "
            f"{INSTALL} --force-reinstall (without a wheel: with a compiler, CMake and OpenCV)"
        )
    return None


def engine_version() -> str:
    """The engine's version.

    Raises: ModuleNotFoundError where it does not load.
    """
    problem = engine_problem()
    if problem:
        raise ModuleNotFoundError(problem)
    import patchmatch

    return f"{patchmatch.__version__} radius {PATCH_RADIUS_PX} px"


def copied(
    known: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    seed: int = 0,
    radius_px: int = PATCH_RADIUS_PX,
) -> np.ndarray:
    """uint8 [H,W,3]: `known` with its own patches in `own`, unguided; all else as it is.

    seed: of the search, a whole number; equal inputs and seeds give equal results.

    Raises: RuntimeError where the engine does not load, or fails.
    """
    return copied_by_each([None], known, hole, own, seed, radius_px=radius_px)[0]


def copied_by_each(
    guides: Sequence[np.ndarray | None],
    known: np.ndarray,
    hole: np.ndarray,
    own: np.ndarray,
    seed: int = 0,
    weight: float = 0.0,
    radius_px: int = PATCH_RADIUS_PX,
) -> list[np.ndarray]:
    """[uint8 [H,W,3]]: `copied` by each of the guides, with the same seed, at the same time.

    guides: float32 [H,W,2] in [0,0.5] whose distance, times `weight`, is added to that of patches;
        None searches unguided.
    """
    problem = engine_problem()
    if problem:
        raise RuntimeError(problem)
    import patchmatch

    others = hole & ~own
    options = {"patch_size": radius_px}
    if others.any():
        options["global_mask"] = others

    def by(guide: np.ndarray | None) -> np.ndarray:
        if guide is None:
            return patchmatch.inpaint(known, own, **options)
        unused = np.zeros((*guide.shape[:2], 1), np.float32)
        lattice = np.ascontiguousarray(np.concatenate([guide, unused], axis=2), np.float32)
        return patchmatch.inpaint_regularity(known, own, lattice, guide_weight=weight, **options)

    with TURNS.of(seed), ThreadPoolExecutor(len(guides)) as threads:
        patchmatch.set_random_seed(seed)
        return list(threads.map(by, guides))
