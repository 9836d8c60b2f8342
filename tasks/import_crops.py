"""Stage `import_crops`: folders of crops, one per class, become the line's data set."""

from lineact.import_crops import ImportCropsParams, import_crops
from tasks.stage import run_stage

if __name__ == "__main__":
    run_stage(import_crops, ImportCropsParams)
