"""Videos that are imported with faces and regions blurred: what identifies people never reaches the line's folder."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from lineact.errors import ConfigError, InputError
from lineact.privacy import Blur, Region, refuse_regions
from lineact.video import opened_video

TICKS_PER_S = 90_000
CRF = "16"  # of libx264: hardly to be told from the original


def blur_of(regions: str, faces: str) -> Blur | None:
    """What `BLUR_REGIONS=0,0,0.3,0.4;0.8,0,1,1` and `BLUR_FACES=yes` ask for; None for nothing.

    Raises:
        ConfigError: where either cannot be read, or scikit-image, which finds faces, is missing.
    """
    if faces not in ("", "yes", "no"):
        raise ConfigError(f"BLUR_FACES={faces}: expected yes or no")
    expected = "expected x1,y1,x2,y2 in parts of width and height, several with ; between them"
    try:
        found: list[Region] = []
        for text in filter(None, regions.split(";")):
            x1, y1, x2, y2 = (float(value) for value in text.split(","))
            found.append((x1, y1, x2, y2))
        refuse_regions(found)
    except ValueError as error:
        raise ConfigError(f"BLUR_REGIONS={regions}: {expected} ({error})") from error
    return Blur(found, faces == "yes") if found or faces == "yes" else None


def blur_videos(found: Sequence[Path], base: Path, into: Path, blur: Blur) -> list[Path]:
    """Writes blurred copies as MKV; a video that cannot be read to its end is cut there, one without a frame left out.

    Args:
        found: the videos.
        base: folder that they lie below.
        into: gets them at the same places.
        blur: see `Blur`.

    Returns:
        The copies.
    """
    copies = []
    for path in found:
        relative = path.relative_to(base)
        target = into / relative.with_name(f"{relative.name}.mkv")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _blur_video(path, target, blur)
        except InputError as error:
            print(f"blurring: {error}", flush=True)
        if target.is_file() and target.stat().st_size:
            copies.append(target)
            print(f"blurred {relative}", flush=True)
    return copies


def _blur_video(path: Path, target: Path, blur: Blur) -> None:
    import av

    from lineact.video import read_frames

    with opened_video(path) as container:
        rate = container.streams.video[0].average_rate or Fraction(25)
    frames = read_frames(path)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path}: expected frames, found none; left out")
    with av.open(str(target), "w", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"crf": CRF, "threads": "1"})
        height, width = first.image_rgb.shape[:2]
        stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        frame: Any = first
        while frame is not None:
            hidden = blur.apply(frame.image_rgb, (0, 0, width, height), (width, height))
            picture = av.VideoFrame.from_ndarray(hidden[: stream.height, : stream.width], "rgb24")
            picture.pts, picture.time_base = round(frame.pts_s * TICKS_PER_S), Fraction(1, TICKS_PER_S)
            container.mux(stream.encode(picture))
            frame = next(frames, None)
        container.mux(stream.encode(None))
