"""An encoder that a test changes to."""

from headrace.udfs.bandit.context import Encoder, Number

NARROW = Encoder((Number("item", "popularity", scale=1.0),))
