"""The registered recogniser as MLflow loads it (models from code: this file is the model, nothing is pickled).

recogniser = mlflow.pyfunc.load_model("models:/lineact-demo@champion")
found = recogniser.predict(images_rgb)   # uint8, N x height x width x 3
"""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from lineact.bundle import load_bundle


class Recogniser(PythonModel):
    """Frames in, one row per hand out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the bundle beside this file."""
        self.bundle = load_bundle(Path(context.artifacts["bundle"]))

    def predict(  # type: ignore[override]
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: np.ndarray,
        params: dict | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Recognises the hands' actions.

        Args:
            context: MLflow's.
            model_input: uint8, N x height x width x 3, RGB.
            params: MLflow's; none are known.

        Returns:
            One row per hand: frame (index into N), x1, y1, x2, y2 (pixels), score, action, confidence.
        """
        rows = [
            (frame, *map(float, hand.box_xyxy_px), hand.score, hand.action, hand.confidence)
            for frame, image_rgb in enumerate(model_input)
            for hand in self.bundle.recognise(image_rgb)
        ]
        columns = ["frame", "x1", "y1", "x2", "y2", "score", "action", "confidence"]
        return pd.DataFrame(rows, columns=columns)


mlflow.models.set_model(Recogniser())
