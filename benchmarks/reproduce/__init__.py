"""Reproductions of published results: one module each, run as `python -m benchmarks.reproduce.ptb`.

Each resumes from its checkpoint if it was stopped, and at its end adds a row to `results.json`;
`python -m benchmarks.reproduce` prints all rows as a table.
"""
