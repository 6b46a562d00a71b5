"""A thread pool that shares the parts of a piece of work, for kernels that last some microseconds.

A kernel is called by a Python thread. It offers its work as a number of parts and begins to run them; the pool's
threads, which run no Python, take parts as well. A thread that comes late takes none, and the caller waits only for
parts that were taken, so on a busy machine only the help is lost. All threads compute a part in the same way: results
do not depend on the number of threads.

Large products release the GIL once, so that other Python threads can run meanwhile. (Taking it back can last until one
of them gives it up, 5 ms by default; a small product would not gain from that.) Another Python thread may call a kernel
meanwhile: the pool has one owner at a time, and a thread that does not get it runs all its parts alone.

The pool is a block of memory that all threads share:

ticket    the number of the work (high 32 bits), and how many of its parts are left (low 32 bits)
done      the number of parts that pool threads have finished
sleeping  the number of pool threads that wait for the semaphore: after some 100 µs without work. Waking them takes as
          long as a small piece of work; it is done for a large one, or when several small ones follow each other
last, row   the time of the last small piece of work that found sleepers, and how many have followed each other closely
function, argument   the work: function(argument, part)
owner     1 while a thread's work is on offer
rest      how many pieces of work to run alone: set after a thread that had taken a part was not seen for a while
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import threading
from collections.abc import Sequence

from . import machine

TICKET, DONE, SLEEPING, SEMAPHORE, SIZE = 0, 64, 128, 256, 512  # byte offsets, each in its own cache line
FUNCTION, ARGUMENT, REST, LAST, ROW, OWNER = 192, 200, 208, 216, 224, 320
SPINS = 4000  # looks at the ticket before a thread goes to sleep
PATIENCE = 2000, 8  # looks at `done` before the caller yields, plus one for each 2⁸ multiplications
RESTED = 100  # pieces of work that the caller then runs alone: other threads lack a free processor
WORTH = 1 << 16  # multiplications: less work is not shared
FREED = 1 << 28  # multiplications: more work, which takes some 5 ms, releases the GIL
LARGE = 1 << 22  # multiplications: more work always wakes the sleepers
CLOSELY, SEVERAL = 60_000, 4  # nanoseconds between small pieces of work, and how many in a row wake the sleepers
MOST = 8  # threads: more of them would wait for each other longer than they help


@functools.cache
def count() -> int:
    """The number of threads: OMP_NUM_THREADS, else the number of processors this process may use, at most 8."""
    told = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1  # elsewhere, no semaphore to share
    return max(1, min(int(told) if told.isdigit() else usable, usable, MOST))


def pool() -> int:
    """The address of the pool, with its threads started."""
    with _STARTING:
        return _pool()


_STARTING = threading.Lock()  # so that two threads start one pool


@functools.cache
def _pool() -> int:
    memory = ctypes.create_string_buffer(SIZE + 64)
    address = -(-ctypes.addressof(memory) // 64) * 64
    _alive.append(memory)
    machine.name_address("minigrad.pool", address)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))  # also after the interpreter ends: the threads keep looking
    if count() > 1:
        ctypes.CDLL(None).sem_init(ctypes.c_void_p(address + SEMAPHORE), 0, 0)
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(machine.address_of(_WORKER, "worker", "the thread pool"))
        for _ in range(count() - 1):
            threading.Thread(target=work, args=(address,), daemon=True, name="minigrad").start()
        os.register_at_fork(after_in_child=_forget)
    return address


_alive: list[ctypes.Array[ctypes.c_char]] = []


def _forget() -> None:
    """After a fork only the forking thread exists: nobody helps."""
    for memory in _alive:
        ctypes.memset(memory, 0, SIZE)


def source() -> str:
    """LLVM IR for a kernel's source: @share(function, argument, parts, multiplications); and
    @freely(function, argument, multiplications), which calls a function that may share. If the work is large, it
    releases the GIL meanwhile, so the function must not use Python objects."""
    if count() == 1:
        return _ALONE + _FREELY
    pool()
    return _CLAIM + _SHARE + _FREELY


_PAUSE = {"x86_64": "@llvm.x86.sse2.pause()", "aarch64": "@llvm.aarch64.hint(i32 1)"}.get(platform.machine(), "")
_DECLARED = {"@llvm.x86.sse2.pause()": "declare void @llvm.x86.sse2.pause()",
             "@llvm.aarch64.hint(i32 1)": "declare void @llvm.aarch64.hint(i32)"}.get(_PAUSE, "")  # fmt: skip
_WAIT = f"call void {_PAUSE}" if _PAUSE else ""  # executed between two looks at the ticket

_MONOTONIC = 1  # CLOCK_MONOTONIC on Linux, the only system with threads here

_CLAIM = f"""
{_DECLARED}
define internal i64 @claim(ptr %pool) {{
    %ticket = getelementptr i8, ptr %pool, i64 {TICKET}
    %first = load atomic i64, ptr %ticket acquire, align 8
    br label %look
look:
    %seen = phi i64 [ %first, %0 ], [ %now, %take ]
    %left = and i64 %seen, 4294967295
    %some = icmp ne i64 %left, 0
    br i1 %some, label %take, label %nothing
take:
    %one.less = sub i64 %seen, 1
    %pair = cmpxchg ptr %ticket, i64 %seen, i64 %one.less acq_rel acquire
    %now = extractvalue {{ i64, i1 }} %pair, 0
    %taken = extractvalue {{ i64, i1 }} %pair, 1
    br i1 %taken, label %mine, label %look
mine:
    %part = sub i64 %left, 1
    ret i64 %part
nothing:
    ret i64 -1
}}
"""

_SHARE = f"""
@minigrad.pool = external global [{SIZE} x i8], align 64
declare i32 @sem_post(ptr)
declare i32 @sched_yield()
declare i32 @clock_gettime(i32, ptr)
define internal void @share(ptr %function, ptr %argument, i64 %parts, i64 %multiplications) {{
    %time = alloca [2 x i64]
    %worth = icmp ugt i64 %multiplications, {WORTH}
    %rest.at = getelementptr i8, ptr @minigrad.pool, i64 {REST}
    %owner.at = getelementptr i8, ptr @minigrad.pool, i64 {OWNER}
    br i1 %worth, label %ask, label %alone
ask:
    %pair = cmpxchg ptr %owner.at, i64 0, i64 1 acquire monotonic
    %owns = extractvalue {{ i64, i1 }} %pair, 1
    br i1 %owns, label %own, label %alone
own:
    %rest = load i64, ptr %rest.at
    %well = icmp eq i64 %rest, 0
    br i1 %well, label %offer, label %less.rest
less.rest:
    %rest.less = sub i64 %rest, 1
    store i64 %rest.less, ptr %rest.at
    store atomic i64 0, ptr %owner.at release, align 8
    br label %alone
alone:
    br label %alone.look
alone.look:
    %n = phi i64 [ 0, %alone ], [ %n.next, %alone.do ]
    %n.more = icmp ult i64 %n, %parts
    br i1 %n.more, label %alone.do, label %end
alone.do:
    call void %function(ptr %argument, i64 %n)
    %n.next = add i64 %n, 1
    br label %alone.look
offer:
    %ticket = getelementptr i8, ptr @minigrad.pool, i64 {TICKET}
    %done.at = getelementptr i8, ptr @minigrad.pool, i64 {DONE}
    %sleeping.at = getelementptr i8, ptr @minigrad.pool, i64 {SLEEPING}
    %function.at = getelementptr i8, ptr @minigrad.pool, i64 {FUNCTION}
    %argument.at = getelementptr i8, ptr @minigrad.pool, i64 {ARGUMENT}
    %semaphore = getelementptr i8, ptr @minigrad.pool, i64 {SEMAPHORE}
    store ptr %function, ptr %function.at
    store ptr %argument, ptr %argument.at
    store atomic i64 0, ptr %done.at monotonic, align 8
    %old = load atomic i64, ptr %ticket monotonic, align 8
    %work = lshr i64 %old, 32
    %next = add i64 %work, 1
    %high = shl i64 %next, 32
    %offered = or i64 %high, %parts
    store atomic i64 %offered, ptr %ticket seq_cst, align 8
    %asleep = load atomic i64, ptr %sleeping.at seq_cst, align 8
    %any = icmp ne i64 %asleep, 0
    br i1 %any, label %are.asleep, label %begin
are.asleep:
    %large = icmp ugt i64 %multiplications, {LARGE}
    br i1 %large, label %wake, label %look.at.clock
look.at.clock:
    %told = call i32 @clock_gettime(i32 {_MONOTONIC}, ptr %time)
    %seconds = load i64, ptr %time
    %rest.of.time = getelementptr i64, ptr %time, i64 1
    %nanoseconds = load i64, ptr %rest.of.time
    %whole = mul i64 %seconds, 1000000000
    %now = add i64 %whole, %nanoseconds
    %last.at = getelementptr i8, ptr @minigrad.pool, i64 {LAST}
    %last = load i64, ptr %last.at
    store i64 %now, ptr %last.at
    %gap = sub i64 %now, %last
    %closely = icmp ult i64 %gap, {CLOSELY}
    %row.at = getelementptr i8, ptr @minigrad.pool, i64 {ROW}
    %row = load i64, ptr %row.at
    %row.more = add i64 %row, 1
    %row.now = select i1 %closely, i64 %row.more, i64 1
    store i64 %row.now, ptr %row.at
    %are.several = icmp uge i64 %row.now, {SEVERAL}
    br i1 %are.several, label %wake, label %begin
wake:
    %sleepers = atomicrmw xchg ptr %sleeping.at, i64 0 seq_cst
    br label %post
post:
    %posted = phi i64 [ 0, %wake ], [ %posted.next, %post.one ]
    %more = icmp ult i64 %posted, %sleepers
    br i1 %more, label %post.one, label %begin
post.one:
    %ignored = call i32 @sem_post(ptr %semaphore)
    %posted.next = add i64 %posted, 1
    br label %post
begin:
    br label %next.part
next.part:
    %mine = phi i64 [ 0, %begin ], [ %mine.next, %do ]
    %part = call i64 @claim(ptr @minigrad.pool)
    %got = icmp sge i64 %part, 0
    br i1 %got, label %do, label %finish
do:
    call void %function(ptr %argument, i64 %part)
    %mine.next = add i64 %mine, 1
    br label %next.part
finish:
    %others = sub i64 %parts, %mine
    %share.of = lshr i64 %multiplications, {PATIENCE[1]}
    %patience = add i64 %share.of, {PATIENCE[0]}
    br label %wait
wait:
    %turn = phi i64 [ 0, %finish ], [ %turn.next, %again ]
    %done = load atomic i64, ptr %done.at acquire, align 8
    %all = icmp eq i64 %done, %others
    br i1 %all, label %give.back, label %again.or.yield
again.or.yield:
    %turn.next = add i64 %turn, 1
    %long = icmp ugt i64 %turn.next, %patience
    br i1 %long, label %yield, label %pause
yield:
    store i64 {RESTED}, ptr %rest.at
    %yielded = call i32 @sched_yield()
    br label %again
pause:
    {_WAIT}
    br label %again
again:
    br label %wait
give.back:
    store atomic i64 0, ptr %owner.at release, align 8
    br label %end
end:
    ret void
}}
"""

_ALONE = """
define internal void @share(ptr %function, ptr %argument, i64 %parts, i64 %multiplications) {
    br label %look
look:
    %n = phi i64 [ 0, %0 ], [ %n.next, %do ]
    %more = icmp ult i64 %n, %parts
    br i1 %more, label %do, label %end
do:
    call void %function(ptr %argument, i64 %n)
    %n.next = add i64 %n, 1
    br label %look
end:
    ret void
}
"""

_FREELY = f"""
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
define internal void @freely(ptr %function, ptr %argument, i64 %multiplications) {{
    %long = icmp ugt i64 %multiplications, {FREED}
    br i1 %long, label %freely, label %holding
freely:
    %state = call ptr @PyEval_SaveThread()
    call void %function(ptr %argument)
    call void @PyEval_RestoreThread(ptr %state)
    ret void
holding:
    call void %function(ptr %argument)
    ret void
}}
"""

_WORKER = (
    _CLAIM
    + f"""
declare i32 @sem_wait(ptr)
define void @worker(ptr %pool) {{
    %ticket = getelementptr i8, ptr %pool, i64 {TICKET}
    %done.at = getelementptr i8, ptr %pool, i64 {DONE}
    %sleeping.at = getelementptr i8, ptr %pool, i64 {SLEEPING}
    %function.at = getelementptr i8, ptr %pool, i64 {FUNCTION}
    %argument.at = getelementptr i8, ptr %pool, i64 {ARGUMENT}
    %semaphore = getelementptr i8, ptr %pool, i64 {SEMAPHORE}
    br label %look
look:
    %idle = phi i64 [ 0, %0 ], [ 0, %do ], [ %idle.next, %pause ], [ 0, %lie.down ], [ 0, %sleep ]
    %part = call i64 @claim(ptr %pool)
    %got = icmp sge i64 %part, 0
    br i1 %got, label %do, label %nothing
do:
    %function = load ptr, ptr %function.at
    %argument = load ptr, ptr %argument.at
    call void %function(ptr %argument, i64 %part)
    %before = atomicrmw add ptr %done.at, i64 1 release
    br label %look
nothing:
    %idle.next = add i64 %idle, 1
    %tired = icmp ugt i64 %idle.next, {SPINS}
    br i1 %tired, label %lie.down, label %pause
pause:
    {_WAIT}
    br label %look
lie.down:
    %counted = atomicrmw add ptr %sleeping.at, i64 1 seq_cst
    %now = load atomic i64, ptr %ticket seq_cst, align 8
    %left = and i64 %now, 4294967295
    %some = icmp ne i64 %left, 0
    br i1 %some, label %look, label %sleep
sleep:
    %ignored = call i32 @sem_wait(ptr %semaphore)
    br label %look
}}
"""
)


def stored(fields: Sequence[str]) -> list[str]:
    """Instructions that write values, each given with its type, into %argument, 8 bytes each."""
    lines = []
    for k, field in enumerate(fields):
        lines += [f"%field{k} = getelementptr i64, ptr %argument, i64 {k}", f"store {field}, ptr %field{k}"]
    return lines


def loaded(fields: Sequence[str]) -> list[str]:
    """Instructions that read them back, each into a name given with its type."""
    lines = []
    for k, field in enumerate(fields):
        kind, name = field.split()
        lines += [f"{name}.at = getelementptr i64, ptr %argument, i64 {k}", f"{name} = load {kind}, ptr {name}.at"]
    return lines
