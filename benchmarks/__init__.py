"""Time and memory of minigrad compared with its peers. `python -m benchmarks --help` lists the options.

compare   the harness: cases, and the timing of their sides
memory    the peak memory of one call, in a separate process
peers     one computation on minigrad, PyTorch, HIPS autograd, or derived by hand in NumPy
report    the table, and the machine it was made on
cases     the measured computations, one subject a file

Nothing here imports NumPy before `__main__` has set the number of threads.
"""
