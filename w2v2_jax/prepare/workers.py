"""Worker processes whose results come in the order of their work."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

from w2v2_jax.errors import InputError, broken_import


def in_order(function: Callable, items: Iterable, *, workers: int) -> Iterator:
    """Results of the function for each item, in order, by processes that work a limited number of
    items in advance; a single worker is this process."""
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of libraries
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with_parent
    )
    try:
        worker = functools.partial(_in_worker, function)
        yield from submitted(pool, worker, items, ahead=3 * workers)
    except BrokenProcessPool as error:
        raise InputError("a worker process died, perhaps out of memory; use fewer") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_worker(function: Callable, item: object) -> object:
    """A result. Where an error was raised is lost on its way to the parent, so a package that
    cannot be imported is named here."""
    try:
        return function(item)
    except Exception as error:
        if (broken := broken_import(error)) is None:
            raise
        raise InputError(broken) from error


def submitted(
    pool: concurrent.futures.Executor, function: Callable, items: Iterable, *, ahead: int
) -> Iterator:
    """Results in the order of the items, of which `ahead` are processed at the same time."""
    jobs = (pool.submit(function, item) for item in items)
    pending = collections.deque(itertools.islice(jobs, ahead))
    while pending:
        result = pending.popleft().result()
        pending.extend(itertools.islice(jobs, 1))
        yield result


def _end_with_parent() -> None:
    """Makes a worker end if its parent is killed; otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch():
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
