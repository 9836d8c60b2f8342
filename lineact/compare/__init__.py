"""Detectors compared over all pairs of their two thresholds, each asked once about every frame.

`pictures` are frames with truth, `detectors` what is asked about them, `answers` keeps what they said, `surfaces`
scores every pair of thresholds, `choice` picks pairs, `report` and `plots` show them.
"""

import numpy as np

MIN_IOUS = (0.3, 0.4)  # T_IoU of the papers (DESIGN section 2.6)
# Both thresholds of every detector, 0 to 1: twice as fine as the steps of 0.1 in the papers' tables.
THRESHOLDS = np.arange(1, 20) / 20
FLOOR = 0.05  # the least of them: no pair asks for what lies below
