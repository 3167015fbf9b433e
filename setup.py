"""What pyproject.toml says is all there is; this file is for tools that ask for it by name."""

from setuptools import setup

setup()
