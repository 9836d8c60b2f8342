"""Simulated stations: fixed-camera recordings rendered from a seed, with the exact box and action of every hand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulateParams:
    """Settings of `simulate`.

    Attributes:
        seed: decides everything.
        station: a name of `lineact.simulation.stations.STATIONS`.
        actions: the line's actions; the station must show exactly these.
        recordings: number of videos, named rec_00.mp4 and so on.
        seconds: length of each.
        fps: frames per second.
        width_px: of the picture, a multiple of 32.
        height_px: of the picture; 16:9.
        crf: H.264 quality of libx264, 0 (lossless) to 51.
        noise: sensor noise, standard deviation in grey levels, 0 to 20.
    """

    seed: int
    station: str
    actions: tuple[str, ...]
    recordings: int
    seconds: float
    fps: int
    width_px: int
    height_px: int
    crf: int
    noise: float

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, found {self.seed}")
        if not 1 <= self.recordings <= 100:
            raise ValueError(f"recordings: expected 1 to 100, found {self.recordings}")
        if not 2 <= self.seconds <= 36000:
            raise ValueError(f"seconds: expected 2 to 36000, found {self.seconds}")
        if not 1 <= self.fps <= 60:
            raise ValueError(f"fps: expected 1 to 60, found {self.fps}")
        if self.width_px < 320 or self.width_px % 32 or self.width_px * 9 != self.height_px * 16:
            raise ValueError(
                "width_px, height_px: expected 16:9 and a width that is a multiple of 32 from 320, "
                f"found {self.width_px} x {self.height_px}"
            )
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf: expected 0 to 51, found {self.crf}")
        if not 0 <= self.noise <= 20:
            raise ValueError(f"noise: expected 0 to 20, found {self.noise}")
