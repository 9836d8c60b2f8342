"""Stage `import_yolo`: a YOLO folder whose classes are actions becomes the line's data set."""

from lineact.import_yolo import ImportYoloParams, import_yolo
from tasks.stage import run_stage

if __name__ == "__main__":
    run_stage(import_yolo, ImportYoloParams)
