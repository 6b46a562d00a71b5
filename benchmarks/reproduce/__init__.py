"""Results that others published, reached again: one module each, run as `python -m benchmarks.reproduce.ptb`.

Each goes on from its checkpoint where it was stopped, and at its end adds a row to `results.json`;
`python -m benchmarks.reproduce` prints all rows as a table.
"""
