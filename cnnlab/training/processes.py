"""Several processes, one training: how they meet, and what they tell each other.

torchrun starts the processes and says in the environment who is who. Numbers go by collectives of torch.distributed
(all-reduce, all-gather, broadcast), words by its key-value store. A process alone imports none of it.
"""

import contextlib
import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnnlab.errors import CnnlabError, DataError, MachineError, Stopped, UsageError
from cnnlab.text import cut, printable
from cnnlab.training.torchrun import environment_number, rank
from cnnlab.training.world import ProcessLost, Wishes, World

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

COLLECTIVE_SECONDS = 300.0
"""Wait of a collective. A process that dies is noticed at once, by its closed connections; this is for a machine that
goes silent. Rank 0 may save and draw that long while the others wait for it."""
MEETING_SECONDS = 600.0
TELL_SECONDS = 2.0
"""How long the others leave it to rank 0 to tell an error that may be everyone's."""
_POLL = 0.02
_trainings = itertools.count(1)
"""Numbers the trainings of this process; when torchrun has started it again, they come in the same order."""
_Made = TypeVar("_Made")


@dataclass(eq=False)
class _Several(World):
    """Processes that torchrun started, this one having joined them."""

    store: Any = None
    """Of this attempt alone."""
    launch: Any = None
    """The store that lives as long as torchrun's agent, over all its restarts."""
    training: str = ""
    """The key under which this training's run is remembered there."""
    collective: bool = True
    """Whether there is a process group; none is needed for one process."""
    texts: int = 0
    """How many texts were shared so far."""

    def in_turn(self, make: Callable[[bool], _Made]) -> _Made:
        node = os.environ.get("GROUP_RANK", "0")
        if not self.first:
            self._wait("turn of rank 0 is over")
        if self.local_rank:
            self._wait(f"turn of machine {node} is over")
        made = make(bool(self.local_rank))
        if self.first:
            self._set("turn of rank 0 is over", "")
        if not self.local_rank:
            self._set(f"turn of machine {node} is over", "")
        return made

    def from_first(self, make: Callable[[], str]) -> str:
        self.texts += 1
        key = f"text {self.texts}"
        if not self.first:
            return self._wait(key)
        text = make()
        self._set(key, text)
        return text

    def require_same(self, what: str, text: str) -> None:
        theirs = self.from_first(lambda: text)
        if theirs != text:
            here, there = (cut(part) for part in _where_they_differ(text, theirs))
            raise DataError(
                f"{what} of process {self.rank} differs from that of process 0: {here!r}, there {there!r}",
                hint="Give every machine the same command, files and versions",
            )

    def numbers_of_first(self, numbers: Sequence[float]) -> list[float]:
        import torch

        if not self.collective:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)
        self.copy_from_first([tensor])
        return [float(number) for number in tensor]

    def gather(self, rows: "np.ndarray", count: int) -> "np.ndarray":
        import numpy as np
        import torch
        from torch import distributed

        if not self.collective:
            return rows
        longest = -(-count // self.size)
        mine = torch.zeros((longest, *rows.shape[1:]), dtype=torch.from_numpy(rows[:0]).dtype)
        mine[: len(rows)] = torch.from_numpy(rows)
        everyones = [torch.empty_like(mine) for _ in range(self.size)]
        with _noticing_death():
            distributed.all_gather(everyones, mine)
        cuts = [self._rows(count, rank) for rank in range(self.size)]
        return np.concatenate([part[: cut.stop - cut.start].numpy() for part, cut in zip(everyones, cuts, strict=True)])

    def add_up(self, tensor: "Tensor") -> None:
        from torch import distributed

        if self.collective:
            with _noticing_death():
                distributed.all_reduce(tensor)

    def copy_from_first(self, tensors: Sequence["Tensor"]) -> None:
        import torch
        from torch import distributed

        if self.collective:
            with _noticing_death():
                for tensor in tensors:  # as bytes: not every backend has every type
                    distributed.broadcast(tensor.view(-1).view(torch.uint8), 0)

    def agree(self) -> None:
        import torch

        if self.collective:
            flags = torch.tensor([float(self.wishes.stop), float(self.wishes.save)])
            self.add_up(flags)
            self.agreed = Wishes(bool(flags[0]), bool(flags[1]))

    def remember(self, run: Path) -> None:
        if self.first:
            with _noticing_death():
                self.launch.set(self.training, os.fsencode(run.absolute()))

    def remembered(self) -> Path | None:
        def find() -> str:
            return os.fsdecode(self.launch.get(self.training)) if self.launch.check([self.training]) else ""

        run = self.from_first(find)
        return Path(run) if run and (Path(run) / "recipe.yaml").is_file() else None

    def leave_telling_to_one(self, error: CnnlabError) -> None:
        """Decide which process tells an error, often everybody's: rank 0 if it has it too, else each its own."""
        lost = isinstance(error, ProcessLost)
        what = "lost" if lost else _hash(str(error))
        error.told_elsewhere = False
        if self.first:
            self.store.set(f"told {what}", "")
            self.store.set("told lost", "")
            return
        error.message = f"process {self.rank} of {self.size}: {error.message}"
        end = time.monotonic() + TELL_SECONDS
        while not self.store.check([f"told {what}"]) and time.monotonic() < end:
            time.sleep(_POLL)
        told = self.store.check([f"told {what}"]) or (lost and self.store.add("lost", 1) > 1)
        error.told_elsewhere = told or isinstance(error, Stopped)
        if error.told_elsewhere:
            time.sleep(TELL_SECONDS / 2)  # torchrun ends the others as soon as one has ended: let them speak first
        else:
            self.store.set("told lost", "")

    def _set(self, key: str, text: str) -> None:
        with _noticing_death():
            self.store.set(key, text.encode("utf-8", "surrogateescape"))  # a path may be no UTF-8

    def _wait(self, key: str) -> str:
        """The text under a key, as soon as another process has set it; a signal is taken meanwhile."""
        with _noticing_death():
            while not self.store.check([key]):
                time.sleep(_POLL)
            return str(self.store.get(key).decode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def joined(device: str, training: str = "") -> Iterator[World]:
    """Meet the other processes of this launch, if there are any, until the block ends.

    Args:
        device: auto, cpu, cuda or mps, as `Settings.device`.
        training: what tells this training from the launch's others; the same when torchrun starts the processes again.

    Raises:
        MachineError: they do not come.
        ProcessLost: out of the block, where one has ended.
    """
    size = environment_number("WORLD_SIZE", 1)
    if size == 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        yield World()
        return
    world = _join(size, device, f"run {next(_trainings)} {_hash(training)}")
    try:
        yield world
    except CnnlabError as error:
        with contextlib.suppress(RuntimeError):  # the store has gone with its machine: everybody tells
            world.leave_telling_to_one(error)
        raise
    _leave(world)


def _join(size: int, device: str, training: str) -> _Several:
    import torch
    from torch import distributed

    number, local_rank = rank(), environment_number("LOCAL_RANK", 0)
    local_size = environment_number("LOCAL_WORLD_SIZE", size)
    if not 0 <= number < size or not 0 <= local_rank < local_size:
        raise UsageError(f"RANK is {number} of WORLD_SIZE {size}: torchrun sets these; leave them alone")
    if distributed.is_initialized():
        raise UsageError("this process has a process group of its own already", hint="Let cnnlab make it")
    wait = timedelta(seconds=COLLECTIVE_SECONDS)
    cuda = size > 1 and device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda and local_size > torch.cuda.device_count():
        raise MachineError(
            f"{local_size} processes were started on this machine, which has {torch.cuda.device_count()} CUDA devices; "
            "each needs one of its own",
            hint=f"torchrun --nproc-per-node {torch.cuda.device_count()}, or train on the CPU: --device cpu",
        )
    try:
        root, _, _ = _heeding_signals(lambda: next(iter(distributed.rendezvous("env://", timeout=wait))))
        launch = distributed.PrefixStore(f"cnnlab {os.environ.get('TORCHELASTIC_RUN_ID', '')}", _outermost(root))
        store = distributed.PrefixStore(_meet(launch, number, size), launch)
        if size > 1:
            if cuda:
                torch.cuda.set_device(local_rank)
            backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
            _heeding_signals(
                lambda: distributed.init_process_group(backend, store=store, rank=number, world_size=size, timeout=wait)
            )
    except (RuntimeError, ValueError) as error:
        raise MachineError(
            f"the {size} processes of this training cannot reach each other: {printable(_first_line(error))}",
            hint="Start them with torchrun; over machines, its --rdzv-endpoint must be reachable from all of them",
        ) from error
    return _Several(
        number, size, local_rank, local_size, store=store, launch=launch, training=training, collective=size > 1
    )


def _heeding_signals(make: Callable[[], _Made]) -> _Made:
    """What `make` gives: it may wait outside Python, which takes a signal only when the main thread is back."""
    made: list[_Made] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            made.append(make())
        except Exception as error:  # noqa: BLE001  # raised again below, in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL)
    if failed:
        raise failed[0]
    return made[0]


def _meet(launch: Any, number: int, size: int) -> str:
    """A name for this attempt that its processes alone know: the store may hold what earlier attempts left."""
    import uuid

    mine, end = uuid.uuid4().hex, time.monotonic() + MEETING_SECONDS
    if number:
        launch.set(f"here {number}", mine)
        while not launch.check([f"welcome {mine}"]):
            _give_up_after(end)
        attempt = str(launch.get(f"welcome {mine}").decode())
        launch.add(f"met {attempt}", 1)
        return attempt
    while launch.add(f"met {mine}", 0) < size - 1:
        for other in range(1, size):
            if launch.check([f"here {other}"]):  # an earlier attempt's process is welcomed in vain
                launch.set(f"welcome {launch.get(f'here {other}').decode()}", mine)
        _give_up_after(end)
    return mine


def _give_up_after(end: float) -> None:
    if time.monotonic() > end:
        raise RuntimeError(f"not all of them came within {MEETING_SECONDS:.0f} s")
    time.sleep(_POLL)


def _outermost(store: Any) -> Any:
    while hasattr(store, "underlying_store"):
        store = store.underlying_store
    return store


def _leave(world: _Several) -> None:
    from torch import distributed

    if world.collective:
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


@contextlib.contextmanager
def _noticing_death() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch.distributed raises
        raise ProcessLost(
            "another process of this training has ended",
            hint=f"Its own message, or torchrun's summary, says why\nNoticed here: {cut(_first_line(error), 160)}",
        ) from error


def _where_they_differ(*texts: str) -> list[str]:
    """Of each text the rest of the line, from the word on in which the first difference is."""
    same = os.path.commonprefix(texts)  # noqa: RUF071  # characters are meant
    start = max((same.rfind(mark) + len(mark) for mark in ("\n", "{", ", ") if mark in same), default=0)
    return [text[start:].partition("\n")[0] for text in texts]


def _first_line(error: Exception) -> str:
    """What an error says first, without the place in gloo's sources that may stand before it."""
    return re.sub(r"^\[\S+:\d+\] ", "", (str(error).splitlines() or [type(error).__name__])[0])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
