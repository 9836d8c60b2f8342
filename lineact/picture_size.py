"""How small and how large a picture may be."""

LEAST_SIDE_PX = 16  # a patch of the vision towers, 14 or 16 pixels: what is smaller shows them nothing
MOST_PIXELS = 2**26  # twice an 8K camera's: a file of some KB may declare pictures that fill the memory


def unusable_size(width_px: int, height_px: int) -> str:
    """What is wrong with a picture's size, as "at least ..., found ..."; empty where nothing is."""
    if min(width_px, height_px) < LEAST_SIDE_PX:
        return f"at least {LEAST_SIDE_PX} x {LEAST_SIDE_PX} pixels, found {width_px} x {height_px}"
    if width_px * height_px > MOST_PIXELS:
        return f"at most {MOST_PIXELS} pixels, found {width_px} x {height_px}"
    return ""
