import pytest


@pytest.fixture(autouse=True)
def _own_home(own_home: None) -> None:
    pass
