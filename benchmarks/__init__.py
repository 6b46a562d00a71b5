"""Time and memory of minigrad beside its peers. `python -m benchmarks --help` says how to run it.

compare   the harness: what a case is, and how its sides are timed
memory    the peak memory of one call, in a process of its own
peers     one computation on minigrad, PyTorch, HIPS autograd, or derived by hand in NumPy
report    the table, and the machine that it was made on
cases     what is measured, one subject a file

Nothing here imports NumPy before `__main__` has set the number of threads.
"""
