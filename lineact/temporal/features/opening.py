"""Which extractor a line has, and how it is opened."""

from dataclasses import dataclass
from pathlib import Path

from lineact.bundle import load_bundle
from lineact.errors import ConfigError
from lineact.files import sha256_of_tree
from lineact.temporal.features.extraction import Extractor, Region
from lineact.temporal.features.extractors import NAMES, FlowParams, open_extractor
from lineact.temporal.features.imported import ImportedExtractor
from lineact.temporal.features.student import StudentExtractor

STUDENT, IMPORTED = "student", "imported"
CHOICES = (STUDENT, IMPORTED, *NAMES)


@dataclass(frozen=True)
class ExtractorParams:
    """What makes a video's rows.

    Attributes:
        name: student: the line's own released pair; imported: arrays made elsewhere; or a network that sees clips.
        weights: of a network, see `lineact.temporal.features.extractors.open_network`; of imported the folder of the
            arrays; of student none.
        region: what a network sees of the picture; None for all.
        flow: a network's second stream; None for none.
        batch: clips that go through a network together.
    """

    name: str
    weights: str | None
    region: Region | None
    flow: FlowParams | None
    batch: int

    def __post_init__(self) -> None:
        if self.name not in CHOICES:
            raise ValueError(f"name must be one of {', '.join(CHOICES)}, found {self.name!r}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, found {self.batch}")
        if self.name not in NAMES and (self.region or self.flow):
            raise ValueError(f"region and flow are of networks that see clips, found one of {self.name}")
        if self.name == IMPORTED and self.weights is None:
            raise ValueError("weights must name the folder of the arrays, found none")


def extractor_of(params: ExtractorParams, bundle: Path | None) -> Extractor:
    """Opens an extractor.

    Args:
        params: which one.
        bundle: folder of the line's released pair; student alone needs it.

    Raises:
        ConfigError: where student has no bundle.
        NoWeightsError: where a network has no weights.
        InputError: where files are broken.
    """
    if params.name == IMPORTED:
        return ImportedExtractor(Path(str(params.weights)))
    if params.name != STUDENT:
        flow, region = params.flow, params.region
        return open_extractor(params.name, params.weights, flow=flow, region=region, batch=params.batch)
    if bundle is None:
        raise ConfigError("expected the folder of the line's released pair, which makes these rows, found none")
    return student_of(bundle)


def student_of(bundle: Path) -> StudentExtractor:
    """Opens a released pair.

    Raises:
        InputError: where the bundle is broken.
    """
    return StudentExtractor(load_bundle(bundle), sha256_of_tree(bundle))
