"""What the review has certified so far, and what comes after it, for the review page."""

from dataclasses import asdict
from threading import Lock
from typing import Any

from flows.after_review import start_training
from flows.gate import Certifier, params_of
from lineact.dataset import DatasetParams
from lineact.dataset.awaiting import AskedAudits, words_of
from lineact.dataset.labels import Found
from lineact.decisions import Decisions
from lineact.errors import LineactError
from tasks.stage import PARAMS_FILE


class Quality:
    """A line's certificate by the answers and the settings as they are now."""

    def __init__(self, line: str, found: Found) -> None:
        """Takes the line's tables, which page, certificate and gate share.

        Raises:
            ConfigError: where the line is unknown.
        """
        self._line = line
        self._found = found
        self._params = params_of(line)
        self._now = Certifier(line, found, self._params)
        self._read = -1  # when params.yaml was written that was read last, nanoseconds
        self._settings_lock = Lock()  # short: an answer that is being saved, and all who write, wait for it
        self._labelling_lock = Lock()  # as long as all crops are labelled

    def _now_by_settings(self) -> tuple[DatasetParams, Certifier]:
        """Today's settings and who certifies by them: somebody may change params.yaml while the page is open."""
        with self._settings_lock:
            written = PARAMS_FILE.stat().st_mtime_ns
            if written != self._read:
                params = params_of(self._line)
                if params != self._params:
                    self._params, self._now = params, Certifier(self._line, self._found, params)
                self._read = written
            return self._params, self._now

    def settings_now(self) -> str:
        """See `DatasetParams.accepted_by`."""
        return self._now_by_settings()[0].accepted_by

    def stamp(self, decisions: Decisions) -> str:
        """Of looks at random crops after these decisions, see `lineact.looks`. Nothing is labelled for it."""
        return self._now_by_settings()[1].stamp(decisions)

    def told(self, decisions: Decisions) -> dict[str, Any]:
        """The certificate in words, and its bounds, pooled and by action.

        Args:
            decisions: those in the file and those in the journal.
        """
        params, certifier = self._now_by_settings()
        max_label_error = params.max_label_error
        with self._labelling_lock:
            certificate = certifier.certificate(decisions)
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
        """
        certifier = self._now_by_settings()[1]
        with self._labelling_lock:
            return certifier.asked_audits(decisions)

    def what_comes_next(self) -> str:
        """Starts training where the gate lets the line through, else says what it waits for; decisions.csv is written.

        Returns:
            A sentence.
        """
        line = self._line
        try:
            certifier = self._now_by_settings()[1]
            with self._labelling_lock:
                certifier.pass_gate()
        except LineactError as error:
            return str(error)
        except (OSError, ValueError) as error:  # the decisions are written all the same
            return f"the gate cannot be judged ({error}); `python -m flows.retrain line={line}` tries it again"
        return start_training(line)
