"""The weights that label a line are loaded before it is labelled: else what is wrong shows after hours of decoding.

`python -m flows.first_weights line=demo` does so in a process of its own, so that their gigabytes end with it.
"""

import sys
from collections.abc import Callable
from typing import Any

from flows import command_line
from flows.child import run_child
from flows.dvc_stage import StageError
from flows.pipeline import TINY, has_run, lock_entry
from lineact.detect import DetectParams, open_backend
from lineact.embed import EmbedParams
from lineact.foundation.blip2 import load_blip2_vision, refuse_other_than_blip2
from lineact.settings import from_mapping
from tasks.compute import cluster_of
from tasks.stage import PARAMS_FILE, prepare_hub, section_of

COMMAND = "flows.first_weights"
STAGES = ("detect", "embed")


def look_for_weights(line: str, log: Callable[[str], None]) -> None:
    """Loads them in a child process, unless the line has been labelled with the same detector and vision tower before.

    Then every stage may come from DVC's cache, for which no weights are needed.

    Args:
        line: the line.
        log: receives each line of output as it appears, e.g. how far a download is.

    Raises:
        StageError: where they cannot be loaded; it carries the lines that say why, and `load_weights`' exit code.
    """
    if _labelled_as_set(line):
        return
    code, lines = run_child(COMMAND, [f"line={line}"], log)
    if code != 0:
        errors = [number for number, text in enumerate(lines) if text.startswith(command_line.ERROR)]
        told = "\n".join(lines[errors[-1] :] if errors else lines[-6:]).removeprefix(command_line.ERROR)
        raise StageError(told, code if code > 0 else StageError.exit_code)


def load_weights(line: str) -> None:
    """Loads the detector with its prompt, and a vision tower of the hub's; for a cluster their settings alone are read.

    Raises:
        InputError: where weights are missing, of another architecture or unlike their config.json, or the prompt is too
            long for them.
    """
    prepare_hub(section_of(line, "hub_cache"))
    detect = from_mapping(DetectParams, section_of(line, "detect"), f"{PARAMS_FILE}: lines.{line}.detect")
    backend = open_backend(detect.with_embedded(TINY / "grounding_dino"))
    embed = from_mapping(EmbedParams, section_of(line, "embed"), f"{PARAMS_FILE}: lines.{line}.embed")
    if embed.foundation == "hub":
        refuse_other_than_blip2(embed.hub_model, embed.hub_revision)
    if cluster_of(line):  # its workers have the memory
        return
    backend.load()
    if embed.foundation == "hub":
        load_blip2_vision(embed.hub_model, embed.hub_revision)


def _labelled_as_set(line: str) -> bool:
    """Whether dvc.lock knows results of the line's detector and vision tower as they are set now."""
    if not (has_run("detect", line) and has_run("embed", line)):
        return False
    locked = {stage: lock_entry(stage, line)["params"][str(PARAMS_FILE)][f"lines.{line}.{stage}"] for stage in STAGES}
    return _networks_of(locked) == _networks_of({stage: section_of(line, stage) for stage in STAGES})


def _networks_of(sections: dict[str, Any]) -> tuple[object, ...]:
    """What tells which weights are loaded, and what they are asked; an earlier version's lock may lack some of it."""
    detect, embed = sections["detect"], sections["embed"]
    backend = detect["backend"]
    return backend, detect.get(backend), *(embed.get(name) for name in ("foundation", "hub_model", "hub_revision"))


def main() -> None:
    """`line=demo`."""
    load_weights(command_line.parse(sys.argv[1:], ("line",))["line"])


if __name__ == "__main__":
    command_line.run(main)
