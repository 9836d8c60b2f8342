"""Adds a line on pictures that come with labels: folders of crops, one per class, or a YOLO folder."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from flows import command_line
from flows.lines import Content, import_line, refuse_choice, refuse_name
from lineact.decisions import NG
from lineact.errors import ConfigError
from lineact.import_crops import classes_in, list_crops
from lineact.imported.yolo import KEY_OF_PART, label_file, read_yolo_set

UNFIT = ("detector", "blur_regions", "blur_faces")  # for pictures with labels
OPTIONS = ("videos", "crops", "yolo", "data_yaml", "names", "actions", "foundation", *UNFIT)
_CLASS = re.compile(r"[\w .:-]+")  # names of metrics hold them


def add_labelled(arguments: Sequence[str]) -> None:
    """`name=signs crops=DIR` or `name=fingers yolo=DIR [data_yaml=FILE] [names=open,closed]`, `[foundation=hub]`.

    The actions are the classes; `[actions=...]` gives them another order.

    Raises:
        ConfigError: on arguments that do not go together, or as `flows.lines.add_line`.
        InputError: on a folder that is no such data set, or as `flows.lines.add_line`.
    """
    values = {key: value for key, value in command_line.parse(arguments, ("name",), OPTIONS).items() if value}
    sources = [key for key in ("videos", "crops", "yolo") if key in values]
    if len(sources) != 1:
        raise ConfigError(f"expected one of VIDEOS, CROPS and YOLO, found {' and '.join(map(str.upper, sources))}")
    of_yolo = [key for key in ("data_yaml", "names") if key in values and sources != ["yolo"]]
    if unfit := of_yolo + [key for key in UNFIT if key in values]:
        raise ConfigError(f"{unfit[0].upper()}= means nothing for a line of {sources[0].upper()}=; leave it out")
    if {"data_yaml", "names"} <= set(values):
        raise ConfigError("expected one of DATA_YAML and NAMES, found both")
    foundation = values.get("foundation") or "tiny"  # nothing is labelled by foundation models
    refuse_name(values["name"])
    refuse_choice("FOUNDATION", foundation)
    if "crops" in values:
        classes, copies = _crops(Path(values["crops"]))
    else:
        data_yaml = Path(values["data_yaml"]) if "data_yaml" in values else None
        classes, copies = _yolo(Path(values["yolo"]), data_yaml, _names(values.get("names", "")))
    actions = _ordered(classes, _names(values.get("actions", "")))
    text = _line_file(sources[0], foundation, actions)
    import_line(values["name"], copies, text, "files", reviewed=False)
    weights = {"hub": "full-size, fetched at first use", "tiny": "embedded; FOUNDATION=hub takes full-size ones"}
    print(f"actions: {', '.join(actions)}; foundation: {foundation} ({weights[foundation]})")
    print(f"next: python -m flows.retrain line={values['name']}")


def _crops(folder: Path) -> tuple[list[str], dict[Path, Content]]:
    copies: dict[Path, Content] = {Path(one.name): one.path for one in list_crops(folder)}
    return classes_in(folder), copies


def _yolo(folder: Path, data_yaml: Path | None, names: Sequence[str]) -> tuple[list[str], dict[Path, Content]]:
    """Pictures, labels, lists as text files, and a data.yaml that names these, wherever the original's lay."""
    found = read_yolo_set(folder, data_yaml, names)
    copies: dict[Path, Content] = {}
    lists: dict[str, list[str]] = {}
    for name, part in found.pictures:
        # what is missing stays in its list: the stage names and counts it
        pair = {Path(one): found.base / one for one in (name, label_file(name))}
        copies |= {relative: path for relative, path in pair.items() if path.is_file()}
        if part is not None:
            lists.setdefault(KEY_OF_PART[part], []).append(name)
    content = {key: f"{key}.txt" for key in lists} | {"names": found.names}
    copies |= {Path(f"{key}.txt"): "".join(f"{name}\n" for name in listed).encode() for key, listed in lists.items()}
    copies[Path("data.yaml")] = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    return [name for name in found.names.values() if name != NG], copies


def _names(text: str) -> list[str]:
    """Names with commas between them; they are quoted in the line's file, so that any word may be one."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _ordered(classes: Sequence[str], wanted: Sequence[str]) -> list[str]:
    if unfit := [name for name in classes if not _CLASS.fullmatch(name)]:
        raise ConfigError(f"class {unfit[0]!r}: expected letters, digits and _ . : -, found others; rename the class")
    if wanted and set(wanted) != set(classes):
        raise ConfigError(f"ACTIONS={','.join(wanted)}: expected the classes {', '.join(classes)}, in any order")
    return list(wanted or classes)


def _line_file(source: str, foundation: str, actions: Sequence[str]) -> str:
    listed = yaml.safe_dump(list(actions), default_flow_style=True, allow_unicode=True, width=10**6).strip()
    return f"""# @package _global_
# Only what differs from conf/config.yaml.
defaults:
  - override /source: {source}
  - override /foundation: {foundation}

description: pictures that came with labels
actions: {listed}   # names of the classes; NG (irrelevant) is added as the last one
"""
