import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a test that takes a seed its crash schedules."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(20 if metafunc.config.getoption("soak") else 2))
