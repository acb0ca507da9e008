"""Parallel test run: several pytest processes that take file after file from one queue.

    python -m tests.parallel [--workers N] -m unit -k name

Other arguments are pytest's. With one worker it is pytest itself, so that a debugger has the
terminal.

A worker collects a file when its turn comes, and runs it whole, so that what the file's fixtures
start is started once. Each worker of pytest-xdist collects all tests, and needs two milliseconds of
processor time to report one: more than most tests of the logic need to run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import IO, Any

import pytest

TESTS = Path(__file__).parent

_MOST = 4
"""Workers, since each has servers that have models. One more than processors: some tests wait."""
_LONG = ("modal_app", "aws_lambda", "e2e", "cli", "accounts", "storage")
"""Directories of long tests. Their files come first, so that workers end at about one time."""
_N_TURNS = 10_000
"""More than there are files. Their numbers are in a pipe from the start, which holds 64 KiB."""
_TURN_BYTES = 4
_ALONE = ("--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first", "--co")
_ALONE_PREFIXES = ("--sw", "--stepwise", "--pdb", "--trace", "--fixtures", "--collect", "--setup")
"""Options for one process: they order or print all tests, or ask."""
_WORKER = "--worker"
_LAST_FAILED = TESTS.parent / ".pytest_cache/v/cache/lastfailed"
"""What ``--lf`` runs."""
_TROUBLE = ("failed", "error")
_WIDTH = 72


class LateModule(pytest.Module):
    """A file that is not read while files are looked for."""

    waiting: list[LateModule] | None = None

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Nothing while ``waiting``, which notes it."""
        if self.waiting is None:
            return super().collect()
        self.waiting.append(self)
        return []


class Worker:
    """Plugin that runs the files whose turns it takes from the queue.

    ``turns`` is a pipe with numbers of files, ``messages`` one for what becomes of tests.
    """

    def __init__(self, number: int, turns: int, messages: int) -> None:
        for pipe in (turns, messages):
            os.set_inheritable(pipe, False)
        self._number = number
        self._turns = turns
        self._messages = messages
        self._files: list[LateModule] = []
        self._current: Path | None = None
        self._share = 0.0

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module:
        """A file to read later."""
        module: LateModule = LateModule.from_parent(parent, path=module_path)
        module.waiting = self._files
        return module

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run file after file, until there are no more or a test stops all."""
        try:
            previous: pytest.Item | None = None
            for item in self._items(session):
                if previous is not None:
                    self._run(session, previous, item)
                previous = item
            if previous is not None:
                self._run(session, previous, None)
        except BaseException:
            while os.read(self._turns, _N_TURNS * _TURN_BYTES):
                pass  # other workers end after their files
            raise
        return True

    def _items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        """The tests of the files whose turn it is, asked for one before it is run.

        What runs before a test ends the fixtures that the test does not share with it.
        """
        files = sorted(self._files, key=_turn)
        while number := os.read(self._turns, _TURN_BYTES):
            if (place := int.from_bytes(number)) >= len(files):
                return
            module = files[place]
            module.waiting = None
            self._share = (place + 1) / len(files)
            self._enter(module.path)
            items = list(_tests(module))
            session.config.hook.pytest_collection_modifyitems(
                session=session, config=session.config, items=items
            )
            session.testscollected += len(items)
            yield from items

    def _run(
        self, session: pytest.Session, item: pytest.Item, following: pytest.Item | None
    ) -> None:
        """Run a test as pytest's own loop does."""
        self._enter(item.path)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _enter(self, file: Path) -> None:
        """Say which file is read or run: it is to blame if the process ends."""
        if file != self._current:
            self._current = file
            self._say(file=os.path.relpath(file), share=self._share)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Say that a file cannot be read."""
        if report.failed:
            self._say(category="error", shown="E", test=report.nodeid[:600], reason=_reason(report))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport, config: pytest.Config
    ) -> Generator[None, tuple[str, str, Any], tuple[str, str, Any]]:
        """Have what becomes of a test shown by the process that started the workers."""
        category, letter, word = yield
        if letter or word:
            shown, test = letter, report.nodeid[:600]
            if config.get_verbosity() > 0:
                shown = f"{test} {word[0] if isinstance(word, tuple) else word}\n"
            self._say(category=category, shown=shown, test=test, reason=_reason(report))
        return category, "", ""

    def _say(self, **message: Any) -> None:
        """Send a line, short enough that no other worker's gets into it (PIPE_BUF, 4096 bytes)."""
        line = json.dumps({"worker": self._number, **message}, ensure_ascii=False)
        os.write(self._messages, line.encode(errors="backslashreplace") + b"\n")


def _tests(node: pytest.Item | pytest.Collector) -> Iterator[pytest.Item]:
    """All tests of a file, collected as pytest does it."""
    if isinstance(node, pytest.Item):
        node.ihook.pytest_itemcollected(item=node)
        yield node
        return
    node.ihook.pytest_collectstart(collector=node)
    report: pytest.CollectReport = node.ihook.pytest_make_collect_report(collector=node)
    node.ihook.pytest_collectreport(report=report)
    if report.passed:
        for child in report.result:
            yield from _tests(child)


def _turn(module: pytest.Module) -> tuple[int, int, Path]:
    directory = module.path.relative_to(TESTS).parts[0]
    place = _LONG.index(directory) if directory in _LONG else len(_LONG)
    return place, -module.path.stat().st_size, module.path


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The first line of what a report says of a failure."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message).partition("\n")[0][:300] if crash and report.failed else ""


class Progress:
    """What workers say: shown as it comes, and counted."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.troubles: list[tuple[str, str, str]] = []
        """What each is called, the test, and the first line of what is wrong."""
        self._files = dict[int, str]()
        self._share = 0.0
        self._column = 0

    def take(self, message: dict[str, Any]) -> None:
        """Show a message."""
        match message:
            case {"worker": number, "file": file, "share": share}:
                self._files[number], self._share = file, share
            case {"category": category, "shown": shown, "test": test, "reason": reason}:
                self._count(category, test, reason)
                self._show(shown)
            case {"worker": number, "status": int(status)} if status < 0:
                reason = f"its process was ended by {signal.Signals(-status).name}"
                self._count("error", self._files.get(number, "no test"), reason)

    def _count(self, category: str, test: str, reason: str) -> None:
        self.counts[category] += 1
        if category in _TROUBLE:
            self.troubles.append((category.upper(), test, reason))

    def _show(self, text: str) -> None:
        print(text, end="", flush=True)
        self._column = 0 if text.endswith("\n") else self._column + len(text)
        if self._column >= _WIDTH:
            self.end_line(f" [{self._share:4.0%}]")

    def end_line(self, text: str = "") -> None:
        """End the line of letters."""
        if self._column:
            print(text, flush=True)
        self._column = 0

    def summary(self, seconds: float) -> str:
        """What failed, then how many tests there were of each kind."""
        lines = [
            f"{name} {test}{reason and f' - {reason}'}"
            for name, test, reason in sorted(self.troubles)
        ]
        counts = [f"{number} {category}" for category, number in self.counts.items()]
        return "\n".join([*lines, f"{', '.join(counts) or 'no tests ran'} in {seconds:.0f} s"])


class Run:
    """Workers and what they print, which is shown when all have ended."""

    def __init__(self, n_workers: int, arguments: Sequence[str]) -> None:
        turns, numbers = os.pipe()
        for number in range(_N_TURNS):
            os.write(numbers, number.to_bytes(_TURN_BYTES))
        os.close(numbers)
        messages, self._said = os.pipe()
        self._messages = os.fdopen(messages, "rb")
        self._outputs: list[IO[bytes]] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        for number in range(n_workers):
            output = tempfile.TemporaryFile()  # noqa: SIM115 (read when all have ended)
            self._outputs.append(output)
            self._workers.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "tests.parallel", _WORKER),
                        *(str(number), str(turns), str(self._said), *arguments),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(turns, self._said),
                    process_group=0,  # Ctrl-C is for this process alone, see `interrupt`
                )
            )
        os.close(turns)
        for number, worker in enumerate(self._workers):
            Thread(target=self._await, args=(number, worker), daemon=True).start()

    def _await(self, number: int, worker: subprocess.Popen[bytes]) -> None:
        """Say that a worker has ended, after all that it said."""
        message = {"worker": number, "status": worker.wait()}
        os.write(self._said, json.dumps(message).encode() + b"\n")

    def follow(self, progress: Progress) -> list[int]:
        """Show what workers say until all have ended; their exit statuses."""
        statuses: list[int] = []
        while len(statuses) < len(self._workers):
            message = json.loads(self._messages.readline())
            progress.take(message)
            if "status" in message:
                statuses.append(message["status"])
        progress.end_line()
        return statuses

    def interrupt(self, *_: object) -> None:
        """Have the workers end the tests that run, and what their fixtures started."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGINT)

    def show_output(self) -> None:
        """What the workers printed, those last that have failures."""
        shown = set[tuple[str, ...]]()  # all have the same to say of wrong options
        for _, output in sorted(zip(self._workers, self._outputs, strict=True), key=_has_failed):
            output.seek(0)
            # The last line is the number of tests.
            lines = tuple(output.read().decode(errors="replace").strip().splitlines()[:-1])
            if lines and lines not in shown:
                print(*lines, sep="\n")
            shown.add(lines)


def _has_failed(worker: tuple[subprocess.Popen[bytes], IO[bytes]]) -> bool:
    return worker[0].returncode not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def run(n_workers: int, arguments: Sequence[str]) -> int:
    """Run the tests; the exit status, pytest's."""
    began = time.monotonic()
    progress = Progress()
    workers = Run(n_workers, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, workers.interrupt)
    statuses = set(workers.follow(progress))
    workers.show_output()
    print(progress.summary(time.monotonic() - began))
    if progress.troubles:
        _LAST_FAILED.parent.mkdir(parents=True, exist_ok=True)
        _LAST_FAILED.write_text(json.dumps({test: True for _, test, _ in progress.troubles}))
    if statuses == {pytest.ExitCode.NO_TESTS_COLLECTED}:
        return pytest.ExitCode.NO_TESTS_COLLECTED
    bad = statuses - {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    return max((max(status, pytest.ExitCode.TESTS_FAILED) for status in bad), default=0)


def _n_workers(arguments: Sequence[str]) -> int:
    """As many as there is work for: one for each processor, and one for when others wait."""
    if any(each in _ALONE or each.startswith(_ALONE_PREFIXES) for each in arguments):
        return 1
    paths = [path for each in arguments if (path := Path(each.partition("::")[0])).exists()]
    if any("::" in each for each in arguments):
        return 1
    n_workers = min((os.cpu_count() or 1) + 1, _MOST)
    return min(n_workers, len(paths)) if paths and all(map(Path.is_file, paths)) else n_workers


def main(arguments: list[str]) -> int:
    """Run the tests, or be a worker."""
    if arguments[:1] == [_WORKER]:
        number, turns, messages = map(int, arguments[1:4])
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        # One cache is for one process.
        own = ["-p", "no:cacheprovider", "-rN", "--no-header"]
        try:
            return pytest.main([*own, *arguments[4:]], plugins=[Worker(number, turns, messages)])
        except KeyboardInterrupt:  # before it runs tests
            return pytest.ExitCode.INTERRUPTED
    n_workers = 0
    if arguments[:1] == ["--workers"]:
        n_workers, arguments = int(arguments[1]), arguments[2:]
    n_workers = n_workers or _n_workers(arguments)
    if n_workers == 1:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])
    return run(n_workers, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
