//! Nothing of its own: see `tests` and `examples`, which the feature `full` brings along.
