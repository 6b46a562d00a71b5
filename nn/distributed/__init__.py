"""Training with several processes, on one machine or many: MPI between them, NCCL between GPUs."""

from .agreement import DisagreementError
from .data_parallel import DataParallel
from .group import Group, group

__all__ = ["DataParallel", "DisagreementError", "Group", "group"]
