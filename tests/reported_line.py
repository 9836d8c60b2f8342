"""What a line's runs leave in MLflow, made up, for the reports' tests."""

import json
from pathlib import Path

from lineact.files import write_text

LINE = "demo"
STAGES = {
    "ingest": {"videos": 11.0, "frames": 4400.0, "frames_kept": 900.0},
    "dataset": {
        "crops_train": 300.0, "crops_val": 69.0, "crops_by_person": 200.0, "crops_by_match": 169.0,
        "certificate_error": 0.02, "certificate_upper": 0.048, "certificate_looked": 224.0, "items_undecided": 0.0,
    },
    "benchmark": {
        "classifier_p50_ms": 0.9, "classifier_p95_ms": 1.16, "pair_p99_ms": 1.43, "frame_p95_ms": 7.3,
        "event_p95_ms": 11.8, "memory_peak_mb": 210.0,
    },
    "annotation_cost": {"hours_all": 1.48, "hours_all_by_hand": 9.1, "hours_all_change": -0.84},
}  # fmt: skip
EVALUATED = (
    {"detection_recall_iou40": 0.91, "detection_accuracy_iou40": 0.93, "action_accuracy": 0.90, "event_f1": 0.8},
    {"detection_recall_iou40": 1.00, "detection_accuracy_iou40": 0.985, "action_accuracy": 0.965, "event_f1": 1.0},
    {"detection_recall_iou40": 0.93, "detection_accuracy_iou40": 0.95, "action_accuracy": 0.94, "event_f1": 0.9},
)
CHAMPION = 2  # the last one was no better
FLOW_RUN = "0190aaaa-0000-7000-8000-000000000001"


def log_runs(client, line: str = LINE) -> list[str]:
    """Three pipeline runs with their stages, and a version of each; the second one is the champion.

    Returns:
        The parents' run ids.
    """
    experiment = client.create_experiment(f"lineact-{line}")
    client.create_registered_model(f"lineact-{line}")
    parents = []
    children = {name: _log(client, experiment, name, metrics) for name, metrics in STAGES.items()}
    for number, metrics in enumerate(EVALUATED, 1):
        tags = {"lineact.kind": "pipeline", "line": line, "lineact.flow_run": FLOW_RUN}
        parent = client.create_run(experiment, tags=tags, run_name=f"retrain {line}").info.run_id
        children["evaluate"] = _log(client, experiment, "evaluate", metrics)
        for stage, child in children.items():
            client.set_tag(parent, f"stage.{stage}", f"{'ran' if number == 1 else 'unchanged'} {child}")
        for name, value in metrics.items():
            client.log_metric(parent, name, value)
        client.set_terminated(parent, "FINISHED")
        gates = [{"name": "detection_recall", "passed": number == CHAMPION, "reason": "0.91 against at least 0.95"}]
        client.create_model_version(
            f"lineact-{line}",
            source=f"runs:/{parent}/bundle",
            run_id=parent,
            tags={"bundle_sha256": f"{number}" * 64, "gates": json.dumps(gates)},
        )
        parents.append(parent)
    client.set_registered_model_alias(f"lineact-{line}", "champion", str(CHAMPION))
    return parents


def _log(client, experiment: str, stage: str, metrics: dict[str, float]) -> str:
    tags = {"lineact.kind": "stage", "lineact.stage": stage}
    run_id = client.create_run(experiment, tags=tags, run_name=f"{stage} {LINE}").info.run_id
    for name, value in (metrics | {"stage_seconds": 12.5}).items():
        client.log_metric(run_id, name, value)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def write_ledger(line: str = LINE) -> None:
    """One promotion."""
    entry = {
        "line": line, "version": "2", "previous": None, "bundle_sha256": "2" * 64, "hash_of_entry_before": None,
        "at": "2026-03-01T10:00:00+00:00", "who": "ann", "why": {"detection_recall": "1.00 against at least 0.95"},
    }  # fmt: skip
    write_text(Path("models") / line / "promotions.jsonl", json.dumps(entry) + "\n")
