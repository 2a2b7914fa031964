"""Residuals: what a coarse fill lacks, copied from where the photo looks alike (HiFill, CVPR 2020).

Differs from HiFill: no learned attention; matches are nearest patches of the coarse picture, found
by a search that prefers to go on where its neighbors copy from.
"""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

BOX = Image.Resampling.BOX
PATCH_CELLS = 5  # side of the compared patches
KEYS = 2048  # of the coarse start; then the search moves in steps of single cells
MAX_CELLS = 256  # longest side of the compared picture
COHERENCE = 0.05  # share by which a continued match may be worse than an own one
STEPS = (8, 4, 2, 1, 2, 1)


def resized(pixels: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    """float32 [H,W,3] -> [h,w,3] of size (w, h)."""
    planes = [Image.fromarray(np.ascontiguousarray(p)) for p in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(p.resize(size, resample)) for p in planes], axis=2)


def reduced_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool of size (w, h): wherever a pixel of the mask has a share."""
    reduced = Image.fromarray(mask.astype(np.float32)).resize(size, BOX)
    return np.asarray(reduced) > 0


def with_detail(
    picture: np.ndarray, hole: np.ndarray, own: np.ndarray, cell_px: float
) -> np.ndarray:
    """float32 [H,W,3]: `picture` (float32 in [0,1]; known pixels, and a fill that holds nothing
    finer than cell_px in `own`) with the known residuals of best matching patches added in `own`.

    As it is where nothing finer can be missing, or nothing is known to match.
    """
    height, width = own.shape
    cells = np.array([width, height]) / max(cell_px, max(height, width) / MAX_CELLS)
    columns, rows = (max(int(round(n)), 1) for n in cells)
    if cell_px <= 1 or min(rows, columns) < PATCH_CELLS or not own.any():
        return picture
    grid = resized(picture, (columns, rows), BOX)
    residual = picture - resized(grid, (width, height), Image.Resampling.BICUBIC)
    down, across = height / rows, width / columns
    asked = cells_with(own, rows, columns)
    # Cells whose neighbors hold hole pixels would hand on what was made up.
    blocked = F.max_pool2d(torch.from_numpy(cells_with(hole, rows, columns))[None].float(), 3, 1, 1)
    sources = ~blocked[0].bool().numpy()
    if not sources.any():
        return picture
    matches = match_cells(grid, asked, sources)
    y, x = np.nonzero(own)
    cell_y = np.minimum((y / down).astype(int), rows - 1)
    cell_x = np.minimum((x / across).astype(int), columns - 1)
    offset_y, offset_x = matches[cell_y, cell_x].T - np.stack([cell_y, cell_x])
    from_y = y + np.rint(offset_y * down).astype(int)
    from_x = x + np.rint(offset_x * across).astype(int)
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    from_y, from_x = np.clip(from_y, 0, height - 1), np.clip(from_x, 0, width - 1)
    usable = inside & ~hole[from_y, from_x]
    result = picture.copy()
    result[y, x] += np.where(usable[:, None], residual[from_y, from_x], 0)
    return np.clip(result, 0, 1)


def cells_with(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """bool [rows,columns]: which cells of the picture hold a pixel of the mask, bool [H,W]."""
    height, width = mask.shape
    y, x = np.nonzero(mask)
    found = np.zeros((rows, columns), bool)
    found[
        np.minimum(y * rows // height, rows - 1), np.minimum(x * columns // width, columns - 1)
    ] = True
    return found


def match_cells(grid: np.ndarray, asked: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """int [rows,columns,2]: (row, column) of the source cell whose patch is most like that around
    each asked cell; other cells hold their own place.

    grid: float32 [rows,columns,3]; asked, sources: bool [rows,columns]. The first guess is the best
    of at most KEYS sources on a lattice, exact where there are no more; matches then spread to
    neighbors and improve by small steps, all cells at once.
    """
    rows, columns = asked.shape
    reach = PATCH_CELLS // 2
    padded = np.pad(grid, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    planes = torch.from_numpy(np.ascontiguousarray(padded)).permute(2, 0, 1)[None]
    patches = F.unfold(planes, PATCH_CELLS)[0].T.contiguous()  # [rows * columns, 3 * side^2]
    query = torch.from_numpy(np.flatnonzero(asked))
    keys = torch.from_numpy(np.flatnonzero(sources))
    lattice = keys[torch.linspace(0, len(keys) - 1, min(KEYS, len(keys))).round().long()]
    allowed = torch.from_numpy(sources.reshape(-1))
    wanted = patches[query]
    best = lattice[nearest(wanted, patches[lattice])]

    def cost_of(places: torch.Tensor) -> torch.Tensor:
        return (wanted - patches[places]).square().sum(dim=1)

    cost = cost_of(best)
    place = torch.full((rows * columns,), -1)

    def offer(candidate: torch.Tensor, valid: torch.Tensor, tolerance: float = 0.0) -> None:
        nonlocal best, cost
        candidate = torch.where(valid, candidate, best)
        valid = valid & allowed[candidate]
        candidate = torch.where(valid, candidate, best)
        new = cost_of(candidate)
        better = valid & (new < cost * (1 + tolerance))
        best, cost = torch.where(better, candidate, best), torch.where(better, new, cost)

    y, x = query // columns, query % columns

    def shifted(
        base_y: torch.Tensor, base_x: torch.Tensor, dy: int, dx: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cells at (base + d), and whether they lie in the grid."""
        ny, nx = base_y + dy, base_x + dx
        valid = (ny >= 0) & (ny < rows) & (nx >= 0) & (nx < columns)
        return ny.clamp(0, rows - 1) * columns + nx.clamp(0, columns - 1), valid

    for step in STEPS:
        for dy, dx in ((step, 0), (-step, 0), (0, step), (0, -step)):
            place[query] = best
            neighbor, valid = shifted(y, x, dy, dx)
            theirs = place[neighbor]
            candidate, inside = shifted(theirs // columns, theirs % columns, -dy, -dx)
            offer(candidate, valid & inside & (theirs >= 0))
        for dy, dx in ((step, 0), (-step, 0), (0, step), (0, -step)):
            candidate, inside = shifted(best // columns, best % columns, dy, dx)
            offer(candidate, inside)
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        place[query] = best
        neighbor, valid = shifted(y, x, dy, dx)
        theirs = place[neighbor]
        candidate, inside = shifted(theirs // columns, theirs % columns, -dy, -dx)
        offer(candidate, valid & inside & (theirs >= 0), COHERENCE)
    result = np.stack(np.mgrid[:rows, :columns], axis=2)
    result[asked] = torch.stack([best // columns, best % columns], dim=1).numpy()
    return result


def nearest(wanted: torch.Tensor, keys: torch.Tensor, at_once: int = 4096) -> torch.Tensor:
    """Index of the row of keys [K,D] nearest to each row of wanted [Q,D]."""
    half = keys.square().sum(dim=1) / 2
    parts = [(half - part @ keys.T).argmin(dim=1) for part in wanted.split(at_once)]
    return torch.cat(parts)
