"""All cores for a batch: each worker takes a contiguous share of the images and one BLAS thread.

Two workers on chunks that stay in the cache beat one product over the whole batch with a two-thread BLAS. The share
of a worker depends only on the batch and the number of threads, so sums are added in the same order every time.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache

from threadpoolctl import ThreadpoolController

from cnnlab.errors import UsageError
from cnnlab.machine import usable_cores

_SMALL = 1 << 16
"""Below this many element operations, handing work to a thread costs more than doing it."""


_threads = usable_cores()


def set_threads(count: int) -> None:
    """Use `count` cores from now on: this many workers, and as many BLAS threads where one product is one call.

    Raises:
        UsageError: `count` is not positive.
    """
    global _threads
    if count < 1:
        raise UsageError(f"expected at least one thread, received {count}")
    _threads = count
    _controller().limit(limits=count, user_api="blas")


def threads() -> int:
    """The number of workers in use: all cores this process may run on, unless `set_threads` said otherwise."""
    return _threads


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="cnnlab-backprop")


def over_batch(work: Callable[[int, int, int], None], images: int, operations: int) -> None:
    """Call `work(first, last, worker)` so that the shares [first, last) cover `images`, one call a worker.

    `operations` is a rough count of element operations of the whole batch; small work stays in this thread.
    """
    workers = min(_threads, images)
    if workers == 1 or operations < _SMALL:
        work(0, images, 0)
        return
    bounds = [images * worker // workers for worker in range(workers + 1)]
    with _controller().limit(limits=1, user_api="blas"):
        # Each in a copy of this thread's context, which holds what NumPy does about an overflow.
        futures = [
            _pool(_threads).submit(copy_context().run, work, bounds[worker], bounds[worker + 1], worker)
            for worker in range(workers)
        ]
        for future in futures:
            future.result()
