"""Pictures of what `match` found: the similarities against lambda, and each group by its templates."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.files import write_bytes, write_csv, write_whole
from lineact.match import Matched
from lineact.png import decode_png, encode_png

BINS = 40
TILE_PX = 96
CAPTION_PX = 150


def write_plots(folder: Path, matched: Matched, embedded: pa.Table, min_similarity: float) -> None:
    """Writes similarity.csv and .png, and groups.png with one row of templates per group.

    Args:
        folder: where to.
        matched: see `match_crops`.
        embedded: schema EMBEDDED, row by row the same crops.
        min_similarity: lambda.
    """
    similarity = matched.crops["similarity"].to_numpy()
    counts, edges = np.histogram(similarity, BINS, range=(min(float(similarity.min()), min_similarity), 1.0))
    rows = [(f"{edge:.4f}", int(count)) for edge, count in zip(edges[:-1], counts, strict=True)]
    write_csv(folder / "similarity.csv", ("similarity", "crops"), rows)
    _write_histogram(folder / "similarity.png", counts, edges, min_similarity)
    write_bytes(folder / "groups.png", encode_png(contact_sheet(matched, embedded)))


def contact_sheet(matched: Matched, embedded: pa.Table) -> np.ndarray:
    """One row per group: its number and size, then its templates; uint8, H x W x 3, RGB."""
    import cv2

    pngs = embedded["crop_png"]
    sizes = np.bincount(matched.crops["group"].to_numpy(), minlength=matched.templates.num_rows)
    by_group: dict[int, list[int]] = {}
    for template in matched.templates.to_pylist():
        by_group.setdefault(template["group"], []).append(template["row"])
    width = CAPTION_PX + TILE_PX * max(map(len, by_group.values()))
    sheet = np.full((TILE_PX * len(by_group), width, 3), 255, np.uint8)
    for line, (group, rows) in enumerate(sorted(by_group.items())):
        top = line * TILE_PX
        caption = f"{group}: {sizes[group]}"
        cv2.putText(sheet, caption, (4, top + TILE_PX // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        for place, row in enumerate(rows):
            left = CAPTION_PX + place * TILE_PX
            tile = cv2.resize(decode_png(pngs[row].as_py()), (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
            sheet[top : top + TILE_PX, left : left + TILE_PX] = tile
    return sheet


def _write_histogram(path: Path, counts: np.ndarray, edges: np.ndarray, min_similarity: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge")
    axes.axvline(min_similarity, color="black", linestyle="--", label=f"lambda {min_similarity:g}")
    axes.set_xlabel("cosine to the nearest template")
    axes.set_ylabel("crops")
    axes.legend()
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=100, metadata={"Software": None}))
