"""`python -m flows.after_review line=demo`: what comes after a finished review.

Where `make serve` runs, the line's deployment is started on it; else the command that goes on is printed.
"""

import os
import sys

from flows import command_line
from flows.gate import decisions_of
from flows.pipeline import CONF, refuse_without_recordings
from flows.server import answers, standing_server
from lineact.files import sha256_of_file, sha256_of_tree


def start_training(line: str) -> str:
    """Starts the line's deployment, which goes on from the gate, or says how to go on without a server.

    The same decisions and settings start it once, however often they are finished. A server that is gone, or that does
    not know the line, is no error.

    Args:
        line: the line.

    Returns:
        What was done, or the command, in a sentence.
    """
    # conf/ and not params.yaml, which the run composes from it
    decisions = decisions_of(line)
    key = f"{sha256_of_file(decisions) if decisions.is_file() else 'none'} {sha256_of_tree(CONF)}"
    name = f"after the review of {line}"
    return start_deployment(line, name, f"review {line} {key}", "with these decisions and settings")


def start_deployment(line: str, name: str, key: str, cause: str) -> str:
    """Starts the line's deployment, or says how to go on without a server.

    Args:
        line: the line.
        name: of the run.
        key: the same one starts one run, however often it is asked for.
        cause: what the key stands for, after "has run".

    Returns:
        What was done, or the command, in a sentence.
    """
    by_hand = f"go on with `python -m flows.retrain line={line}`"
    api_url = os.environ.get("PREFECT_API_URL") or (standing_server() or ("",))[0]
    if not api_url or not answers(api_url):
        return f"no Prefect server is up (`make serve` runs one): {by_hand}"

    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectException
    from prefect.settings import PREFECT_API_URL, temporary_settings

    try:
        with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"retrain/{line}")
            run = client.create_flow_run_from_deployment(deployment.id, name=name, idempotency_key=key)
    except ObjectNotFound:
        return f"the Prefect server at {api_url} has no deployment of {line} (`make serve` makes them): {by_hand}"
    except (HTTPError, PrefectException, RuntimeError) as error:
        return f"the Prefect server at {api_url} took no run ({error}): {by_hand}"
    told = f"flow run {run.name!r} ({run.id}) at {api_url}"
    if run.state is not None and run.state.is_final():  # the same started it before
        ended = f"has run {cause} and ended {run.state.name}"
        return f"training of {line} {ended}: {told}; {by_hand}"
    return f"training of {line} is started: {told}"


def main() -> None:
    """`line=demo`."""
    line = command_line.parse(sys.argv[1:], ("line",))["line"]
    refuse_without_recordings(line)
    print(start_training(line))


if __name__ == "__main__":
    command_line.run(main)
