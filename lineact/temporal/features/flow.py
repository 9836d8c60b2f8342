"""Optical flow as a second stream: a network of its own sees where things move, and its rows are put behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lineact.temporal.features.network import ClipNetwork

if TYPE_CHECKING:
    from torch import nn

MOST_PX = 20.0  # greater displacements are cut off, as I3D's flow stream was trained
RAFT_LEAST_PX = 128  # RAFT compares maps an eighth as large, and halves these three times
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]  # two uint8 pictures, H x W x 3, to pixels of motion, H x W x 2


@dataclass(frozen=True)
class TwoStream:
    """A network of pictures and one of their flow; rows of both side by side.

    Attributes:
        rgb: sees the pictures.
        of_flow: sees two channels of flow, at the same size.
        flow: from one picture to the next.
        flow_identity: changes with whatever decides the flow.
    """

    rgb: ClipNetwork
    of_flow: ClipNetwork
    flow: Flow
    flow_identity: str

    @property
    def name(self) -> str:
        """Of the family."""
        return f"{self.rgb.name}+flow"

    @property
    def identity(self) -> str:
        """Changes with the weights' bytes and with the flow."""
        return f"{self.rgb.identity} {self.of_flow.identity} {self.flow_identity}"

    @property
    def side_px(self) -> int:
        """Side of the pictures that it takes."""
        return self.rgb.side_px

    @property
    def stack(self) -> int | None:
        """Frames that its clips must have; None for any number."""
        return self.rgb.stack

    def start(self) -> Callable[[np.ndarray], np.ndarray]:
        """For one video: pictures in their order to pictures with flow from the one before, uint8, H x W x 5."""
        before: list[np.ndarray] = []

        def with_flow(image_rgb: np.ndarray) -> np.ndarray:
            moved = self.flow(before.pop() if before else image_rgb, image_rgb)
            before.append(image_rgb)
            return np.concatenate([image_rgb, as_bytes(moved)], axis=2)

        return with_flow

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Rows, float32, N x D, of clips, uint8, N x stack x side_px x side_px x 5."""
        return np.concatenate([self.rgb(clips[..., :3]), self.of_flow(clips[..., 3:])], axis=1)


def as_bytes(flow_px: np.ndarray) -> np.ndarray:
    """Flow in pixels as uint8, as it is usually stored: -20 px is 0, 20 px is 255."""
    return np.rint((np.clip(flow_px, -MOST_PX, MOST_PX) / MOST_PX + 1) * 127.5).astype(np.uint8)


def dis_flow() -> Flow:
    """OpenCV's dense inverse search (Kroeger et al. 2016): needs no weights."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def flow(before_rgb: np.ndarray, after_rgb: np.ndarray) -> np.ndarray:
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before_rgb, after_rgb)]
        start_px = np.zeros((*grey[0].shape, 2), np.float32)
        return np.asarray(search.calc(grey[0], grey[1], start_px))

    return flow


def raft_flow(raft: "nn.Module", device: str) -> Flow:
    """torchvision's RAFT.

    Args:
        raft: in evaluation mode, on the device.
        device: where it runs.
    """
    import torch

    def flow(before_rgb: np.ndarray, after_rgb: np.ndarray) -> np.ndarray:
        height, width = after_rgb.shape[:2]
        size_wh = tuple(max(RAFT_LEAST_PX, -(-side // 8) * 8) for side in (width, height))
        pair = np.stack([cv2.resize(image, size_wh) for image in (before_rgb, after_rgb)])
        pixels = torch.from_numpy(pair).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1  # 2 x 3 x H x W
        with torch.inference_mode():
            found = raft(pixels[:1], pixels[1:])[-1][0].permute(1, 2, 0).cpu().numpy()
        return np.asarray(cv2.resize(found, (width, height))) * (width / size_wh[0], height / size_wh[1])

    return flow
