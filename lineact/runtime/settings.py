"""Settings of the runtime, with defaults that fit a station; a TOML file may change them.

A section of the file is a field of `RuntimeSettings`, e.g.

    [source]
    timeout_s = 2.0
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lineact.bundle.manifest import EventSettings
from lineact.bundle.work import WorkSettings
from lineact.errors import ConfigError
from lineact.privacy import Region, refuse_regions
from lineact.settings import from_mapping

Mode = Literal["latest", "lossless"]


@dataclass(frozen=True)
class SourceSettings:
    """How frames are had.

    Attributes:
        mode: "latest" plays a file at its own rate and drops frames for which there is no time; "lossless" drops none
            and tells how far behind it is; "auto" is latest for cameras, lossless for files.
        repeat: whether files begin again after the last one.
        options: FFmpeg's, e.g. {framerate = "25"} of a webcam; strings.
        timeout_s: a camera that sends nothing for so long is given up and connected anew, seconds.
        retry_first_s: before the first new attempt, seconds; doubled for each further one.
        retry_most_s: greatest wait between two attempts, seconds.
        give_up_s: the runtime ends where a camera gave no picture for so long, seconds; 0 tries for ever.
        most_waiting_mb: without loss at most so much of a camera's video waits in memory, 10^6 bytes; then the camera
            is made to wait, which most answer by dropping frames themselves.
    """

    mode: Literal["auto", "latest", "lossless"] = "auto"
    repeat: bool = False
    options: dict[str, str] = field(default_factory=dict)
    timeout_s: float = 5.0
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0
    give_up_s: float = 600.0
    most_waiting_mb: float = 200.0

    def __post_init__(self) -> None:
        if min(self.timeout_s, self.retry_first_s, self.most_waiting_mb) <= 0 or self.give_up_s < 0:
            raise ValueError("timeout_s, retry_first_s and most_waiting_mb must be above 0, give_up_s at least 0")
        if self.retry_most_s < self.retry_first_s:
            raise ValueError("retry_most_s must be at least retry_first_s")


@dataclass(frozen=True)
class EventFileSettings:
    """The files events are written to.

    Attributes:
        rotate_mb: a file is closed and the next begun from this size on, 10^6 bytes.
        keep_files: so many closed files stay; older ones are removed.
    """

    rotate_mb: float = 10.0
    keep_files: int = 100

    def __post_init__(self) -> None:
        if self.rotate_mb <= 0 or self.keep_files < 1:
            raise ValueError("rotate_mb must be above 0, keep_files at least 1")


@dataclass(frozen=True)
class MqttSettings:
    """The broker that gets the events, at least once each.

    Attributes:
        host: its name or address; "" for none.
        port: its port.
        username: "" for none.
        password_file: holds the password alone; its owner alone can read it.
        ca_file: certificates that the broker's must come from (PEM); "" for no encryption.
        topic: of the events.
        product_topic: where the number of the product or cycle is told, as text or as `product` of a JSON object; ""
            for none.
    """

    host: str = ""
    port: int = 1883
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    topic: str = "lineact/{line}/{camera}/events"
    product_topic: str = ""


@dataclass(frozen=True)
class MetricsSettings:
    """Where Prometheus asks.

    Attributes:
        port: 0 for none.
        host: address to listen on; the figures tell how much is worked, so by default nobody else reaches them.
    """

    port: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class ViewSettings:
    """The live view, on this machine alone.

    Attributes:
        port: 0 for none.
        fps: at most so many pictures a second; drawing them takes time from the recogniser while somebody looks.
        long_side_px: pictures are scaled down to this.
    """

    port: int = 0
    fps: float = 10.0
    long_side_px: int = 960

    def __post_init__(self) -> None:
        if self.fps <= 0 or self.long_side_px < 16:
            raise ValueError("fps must be above 0, long_side_px at least 16")


@dataclass(frozen=True)
class KeptVideoSettings:
    """What is kept of a camera's picture, for the clips of a shift report. It shows people at work.

    Attributes:
        hours: so long a file is kept; 0 for nothing, and what was kept before goes after a day. Of a camera that stood
            still less time is in as many files.
        most_mb: at most so much, 10^6 bytes.
        fps: frames a second.
        long_side_px: pictures are scaled down to this.
    """

    hours: float = 0.0
    most_mb: float = 2000.0
    fps: float = 5.0
    long_side_px: int = 640

    def __post_init__(self) -> None:
        if self.hours < 0 or self.most_mb <= 0 or self.fps <= 0 or self.long_side_px < 16:
            raise ValueError("hours must be at least 0, most_mb and fps above 0, long_side_px at least 16")


@dataclass(frozen=True)
class RecogniseSettings:
    """How frames are recognised.

    Attributes:
        threads: CPU threads of each network; detecting and classifying overlap, so one each fills two cores.
        skip_still_frames: whether the detector is spared where nothing moved since it last looked.
        still_below: nothing moved where no block of 8 x 8 pixels of the detector's input changed its brightness by
            this, grey levels.
        skip_same_crops: whether the classifier is spared where a hand's crop is as it last was.
        same_below: a crop is the same where no block of 8 x 8 of its pixels changed by this, grey levels.
        look_again_s: both run at least this often, whatever changed, seconds.
        most_covered: of two boxes that share more than this part of the smaller one the less sure one is dropped: both
            are of one hand, 0 to 1; 1 drops none.
        follow_within: a hand is the one whose last box's centre is nearest and at most so many box sides away.
        lost_after_s: a hand not seen for so long is another one when it comes back, seconds.
        smooth_s: probabilities follow a sudden change to 63 % within this, seconds; 0 for no smoothing.
    """

    threads: int = 1
    skip_still_frames: bool = True
    still_below: float = 4.0
    skip_same_crops: bool = True
    same_below: float = 8.0
    look_again_s: float = 1.0
    most_covered: float = 0.6
    follow_within: float = 1.0
    lost_after_s: float = 0.5
    smooth_s: float = 0.2

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads: expected at least 1, found {self.threads}")
        for name in ("still_below", "same_below", "look_again_s", "follow_within", "lost_after_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, found {getattr(self, name)}")
        if not 0 < self.most_covered <= 1:
            raise ValueError(f"most_covered: expected more than 0 and at most 1, found {self.most_covered}")
        if self.smooth_s < 0:
            raise ValueError(f"smooth_s: expected at least 0, found {self.smooth_s}")


@dataclass(frozen=True)
class UpdateSettings:
    """How new bundles are had while the station runs.

    Attributes:
        every_s: so often the address of the bundle is asked for a new one, seconds; 0 for never.
    """

    every_s: float = 60.0

    def __post_init__(self) -> None:
        if self.every_s < 0:
            raise ValueError(f"every_s: expected at least 0, found {self.every_s}")


@dataclass(frozen=True)
class ViewCheckSettings:
    """When the view counts as another one than in training. A bundle of an earlier lineact has nothing to compare with.

    Attributes:
        every_s: it is checked at the start and then so often, seconds; 0 for never.
        most_moved: the camera was moved where most of the picture moved by more, in parts of its longer side.
        least_seen: the view is covered where less of it is as in training, 0 to 1.
    """

    every_s: float = 30.0
    most_moved: float = 0.004
    least_seen: float = 0.45

    def __post_init__(self) -> None:
        if self.every_s < 0 or self.most_moved <= 0 or not 0 < self.least_seen <= 1:
            raise ValueError("every_s must be at least 0, most_moved above 0, least_seen above 0 and at most 1")


@dataclass(frozen=True)
class FeedbackSettings:
    """Which crops are kept for the next review, and how many; see `PrivacySettings`, too.

    Attributes:
        below: crops whose action is less sure are kept, and those of NG, 0 to 1.
        apart_s: of one hand at most one in so long, seconds.
        most_mb: the oldest go where all take more, 10^6 bytes.
        keep_days: and where they are older.
    """

    below: float = 0.6
    apart_s: float = 5.0
    most_mb: float = 100.0
    keep_days: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.below <= 1 or self.apart_s < 0 or self.most_mb <= 0 or self.keep_days <= 0:
            raise ValueError("below must be from 0 to 1, apart_s at least 0, most_mb and keep_days above 0")


@dataclass(frozen=True)
class PrivacySettings:
    """What of people is stored. Events tell neither who worked nor how well.

    Attributes:
        store_crops: whether crops are kept at all; those of before go after `feedback.keep_days`.
        blur_faces: whether faces in kept crops are blurred, see `lineact.privacy.Blur`.
        blur_regions: parts of the picture that are blurred in kept crops: x1, y1, x2, y2 in parts of its width, height.
    """

    store_crops: bool = True
    blur_faces: bool = False
    blur_regions: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        refuse_regions(self.blur_regions)


@dataclass(frozen=True)
class RuntimeSettings:
    """All settings of one station.

    Attributes:
        source: see `SourceSettings`.
        recognise: see `RecogniseSettings`.
        events: when an action counts as an event; None for the bundle's own, with which it was evaluated.
        work: the standard work; None for the bundle's own, if it has one.
        event_files: see `EventFileSettings`.
        mqtt: see `MqttSettings`.
        metrics: see `MetricsSettings`.
        view: see `ViewSettings`.
        kept_video: see `KeptVideoSettings`.
        updates: see `UpdateSettings`.
        view_check: see `ViewCheckSettings`.
        feedback: see `FeedbackSettings`.
        privacy: see `PrivacySettings`.
    """

    source: SourceSettings = field(default_factory=SourceSettings)
    recognise: RecogniseSettings = field(default_factory=RecogniseSettings)
    events: EventSettings | None = None
    work: WorkSettings | None = None
    event_files: EventFileSettings = field(default_factory=EventFileSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    view: ViewSettings = field(default_factory=ViewSettings)
    kept_video: KeptVideoSettings = field(default_factory=KeptVideoSettings)
    updates: UpdateSettings = field(default_factory=UpdateSettings)
    view_check: ViewCheckSettings = field(default_factory=ViewCheckSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)


def read_settings(path: Path) -> RuntimeSettings:
    """Reads a TOML file.

    Raises:
        ConfigError: naming the file and the key that is wrong.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected the runtime's settings (TOML), found nothing") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, found something else ({error})") from error
    return from_mapping(RuntimeSettings, values, str(path))
