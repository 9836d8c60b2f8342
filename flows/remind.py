"""`python -m flows.remind`: says which lines' reviews are waiting or overdue. `make serve` runs it every hour."""

import sys

from flows import command_line
from flows.pipeline import CONF
from flows.server import use_server
from flows.waiting import note_told, tell, word_on
from lineact.errors import LineactError
from tasks.configure import active_lines

if __name__ == "__main__":
    command_line.run(use_server)

from prefect import flow, get_run_logger


@flow(name="remind", flow_run_name="remind of reviews")
def remind() -> list[str]:
    """Sends an event and a log line for each active line of whose review somebody is to be told now.

    Returns:
        What was said.
    """
    logger = get_run_logger()
    said = []
    for line in active_lines(CONF):
        try:
            word = word_on(line)
        except (LineactError, OSError, ValueError) as error:  # one line's broken file keeps no other from its word
            logger.error("line %s waits for a review and cannot be judged: %s", line, error)
            continue
        if word:
            tell(line, word)
            logger.warning("%s: %s", word.kind, word.text)
            note_told(line)
            said.append(word.text)
    return said


def main() -> None:
    """No arguments."""
    command_line.parse(sys.argv[1:], ())
    remind()


if __name__ == "__main__":
    command_line.run(main)
