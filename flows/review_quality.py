"""What the review has certified so far, and what comes after it, for the review page."""

from dataclasses import asdict
from threading import Lock
from typing import Any

from flows.after_review import start_training
from flows.gate import Certifier, pass_gate
from lineact.dataset.awaiting import AskedAudits, words_of
from lineact.decisions import Decisions
from lineact.errors import LineactError
from tasks.stage import section_of


class Quality:
    """A line's certificate by the answers as they are now. The tables are read when it is asked for first."""

    def __init__(self, line: str) -> None:
        """Reads nothing yet: a long line's tables are large."""
        self._line = line
        self._certifier: Certifier | None = None
        self._lock = Lock()

    def told(self, decisions: Decisions) -> dict[str, Any]:
        """The certificate in words, and its bounds, pooled and by action.

        Args:
            decisions: those in the file and those in the journal.

        Raises:
            InputError: where a table of an earlier stage is missing.
        """
        with self._lock:
            certificate = self._read().certificate(decisions)
        max_label_error = section_of(self._line, "dataset")["max_label_error"]
        bounds = {"all together": certificate.pooled} | certificate.actions
        return {
            "words": words_of(certificate, max_label_error, self._line),
            "max_label_error": max_label_error,
            "bounds": [{"label": label} | asdict(bound) for label, bound in bounds.items()],
        }

    def asked_audits(self, decisions: Decisions) -> AskedAudits:
        """Which random crops are still asked.

        Args:
            decisions: as `told`.

        Raises:
            InputError: likewise.
        """
        with self._lock:
            return self._read().asked_audits(decisions)

    def _read(self) -> Certifier:
        self._certifier = self._certifier or Certifier(self._line)
        return self._certifier


def what_comes_next(line: str) -> str:
    """Starts training where the gate lets the line through, else says what it waits for.

    Args:
        line: its name; decisions.csv is written.

    Returns:
        A sentence.
    """
    try:
        pass_gate(line)
    except LineactError as error:
        return str(error)
    except (OSError, ValueError) as error:  # the decisions are written all the same
        return f"the gate cannot be judged ({error}); `python -m flows.retrain line={line}` tries it again"
    return start_training(line)
