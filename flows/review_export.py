"""`python -m flows.review_export line=demo [all=yes]`: writes decisions.csv from the journal of the review page.

What the file holds already stays, edited by hand or by git as it may be; what was answered since is added. `all=yes`
brings back rows, too, that were in the file once and are gone from it.
"""

import sys

from flows import command_line
from flows.gate import decisions_of
from flows.pipeline import refuse_without_recordings
from lineact.errors import ConfigError, InputError
from lineact.review.export import export_decisions, journal_path
from lineact.review.journal import Journal
from tasks.stage import section_of


def export_line(line: str, *, everything: bool = False) -> str:
    """Writes the line's decisions.csv.

    Args:
        line: its name.
        everything: see `export_decisions`.

    Returns:
        What was done, in words.

    Raises:
        InputError: where nobody has answered anything on the page yet; see also `export_decisions`.
        ConfigError: where the line is unknown.
    """
    actions = tuple(section_of(line, "dataset")["actions"])
    path = decisions_of(line)
    journal = journal_path(path)
    if not journal.is_file():
        raise InputError(f"{journal}: expected a review's journal, found none; run `make review LINE={line}` first")
    exported = export_decisions(path, actions, Journal(journal), everything=everything)
    told = [f"{path}: {exported.rows} rows, {exported.added} of them new"]
    told += [f"row {bad.row}, column {bad.column!r}: {bad.found}; kept at the file's end" for bad in exported.bad]
    if exported.disputed:
        told.append(f"{exported.disputed} items wait: reviewers disagree; settle them on the review page")
    return "\n".join(told)


def main() -> None:
    """The command."""
    values = command_line.parse(sys.argv[1:], ("line",), ("all",))
    refuse_without_recordings(values["line"])
    if values.get("all") not in (None, "", "yes", "no"):
        raise ConfigError(f"all={values['all']}: expected yes or no")
    print(export_line(values["line"], everything=values.get("all") == "yes"))


if __name__ == "__main__":
    command_line.run(main)
