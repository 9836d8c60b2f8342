"""The crops that name others: those whose action a person said.

They are the templates of the groups that a person named (mixed ones apart), the hands that a person drew, and each crop
that a person decided, the audited ones too. What is said of crops that certify names nothing: it judges the labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.dataset.labels import Found, Resolved
from lineact.decisions import MIXED, frame_key


@dataclass(frozen=True)
class Named:
    """Crops that name others, a column for each thing told of them.

    Attributes:
        rows: int64, T: rows of the embeddings.
        actions: T names.
        is_audit: bool, T: whether the crop calibrates, too.
    """

    rows: np.ndarray
    actions: tuple[str, ...]
    is_audit: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The actions, each once, sorted."""
        return tuple(sorted(set(self.actions)))


def named_crops(found: Found, resolved: Resolved, min_iou: float) -> dict[str, str]:
    """Box id to action, of the crops that name others.

    Args:
        found: the tables.
        resolved: names and decisions.
        min_iou: a box stands for a hand that a person drew on its frame from this IoU on, one to one.
    """
    named = {}
    for template in found.templates.to_pylist():
        name = resolved.names.get(template["group"], MIXED)
        if name != MIXED:
            named[template["box_id"]] = name
    certifying = frozenset(found.asked.certifying)
    named |= {box_id: action for box_id, action in resolved.crop_actions.items() if box_id not in certifying}
    named |= _hands_found_again(found, resolved, min_iou)
    return named


def named_of(found: Found, named: Mapping[str, str], wanted: np.ndarray, audited: np.ndarray) -> Named:
    """The named crops of the training part.

    Args:
        found: the tables.
        named: box id to action.
        wanted: int64, W: rows of the training part, ascending.
        audited: int64: rows of the crops that calibrate.
    """
    box_ids = found.embedded["box_id"].take(wanted)
    places = np.flatnonzero(pc.is_in(box_ids, pa.array(named.keys(), pa.string())).to_numpy())
    actions = tuple(named[box_id] for box_id in box_ids.take(places).to_pylist())
    return Named(wanted[places], actions, np.isin(wanted[places], audited))


def _hands_found_again(found: Found, resolved: Resolved, min_iou: float) -> Mapping[str, str]:
    """Box id to action, of the boxes that stand for a hand that a person drew."""
    again = {}
    for frame, hands in resolved.hands.items():
        placed = found.placed_boxes.on(frame_key(*frame))
        if hands and placed:
            iou = iou_matrix(np.array([box for _, box in placed]), np.array([hand.box_xyxy_px for hand in hands]))
            for row, column in match_one_to_one(iou, min_iou):
                again[placed[row][0]] = hands[column].action
    return again
