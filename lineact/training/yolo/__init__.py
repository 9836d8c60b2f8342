"""ultralytics' detection trainer, with state that survives a kill exactly and nothing written outside its folder."""

from lineact.foundation.yolov5 import import_ultralytics

import_ultralytics()  # before this package's modules import any of its own, so that it stays offline
