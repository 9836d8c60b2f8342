"""Stage `evaluate_crops`: teacher and student on a line's held-out crops."""

from lineact.evaluate_crops import EvaluateCropsParams, evaluate_crops
from tasks.stage import run_stage

if __name__ == "__main__":
    run_stage(evaluate_crops, EvaluateCropsParams)
