"""Settings of all tests."""

import pytest
from hypothesis import settings

# A busy machine is no defect: no test asserts on time.
settings.register_profile("lineact", deadline=None)
settings.load_profile("lineact")


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """A folder with a tiny pair: models/ and data/ as the stages before `export` leave them, export/ as it does."""
    from tests.released_pair import export_pair

    folder = tmp_path_factory.mktemp("released")
    export_pair(folder)
    return folder
