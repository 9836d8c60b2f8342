"""The weights that label a line are loaded before its first run: else what is wrong shows after hours of decoding."""

from flows.pipeline import TINY, has_run
from lineact.detect import DetectParams, open_backend
from lineact.embed import EmbedParams
from lineact.foundation.blip2 import load_blip2_vision, refuse_other_than_blip2
from lineact.settings import from_mapping
from tasks.stage import prepare_hub, section_of


def look_for_weights(line: str) -> None:
    """Loads the detector with its prompt, and a vision tower of the hub's, unless the line has been labelled before.

    Later runs may restore every stage from DVC's cache, for which no weights are needed.

    Raises:
        InputError: where weights are missing, of another architecture or unlike their config.json, or the prompt is too
            long for them.
    """
    if has_run("detect", line) and has_run("embed", line):
        return
    prepare_hub(section_of(line, "hub_cache"))
    detect = from_mapping(DetectParams, section_of(line, "detect"), f"params.yaml: lines.{line}.detect")
    backend = open_backend(detect.with_embedded(TINY / "grounding_dino"))
    embed = from_mapping(EmbedParams, section_of(line, "embed"), f"params.yaml: lines.{line}.embed")
    if embed.foundation == "hub":
        refuse_other_than_blip2(embed.hub_model, embed.hub_revision)
    backend.load()
    if embed.foundation == "hub":
        load_blip2_vision(embed.hub_model, embed.hub_revision)
