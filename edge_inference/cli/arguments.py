"""What the options of all commands share: the parser, types of values, common options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from edge_inference.cli.exit_status import EXIT_USAGE
from edge_inference.core.runtime.memory_limit import machine_memory_mib
from edge_inference.core.text_line import one_line

MEMORY_OPTION, TIMEOUT_OPTION = "--max-memory-mib", "--timeout-s"
#: Enough for a model of one gigabyte; most models need a twentieth of it.
_MEMORY_MIB = 8192
#: Python and the libraries alone take half of this.
_MIN_MEMORY_MIB = 512
#: Generators of random numbers take 32 bits.
MAX_SEED = (1 << 32) - 1
_MAX_PORT = 65535
_MAX_DIGITS = 30
#: Time that a command has after a signal to clean up, or to report what it has found so far.
GRACE_S, REPORTING_GRACE_S = 2.0, 30.0

#: Runs a command. Takes the parsed options and the start of the program in seconds of
#: ``time.monotonic()``; returns the exit code.
Start = Callable[[argparse.Namespace, float], int]


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that writes each error in one line."""

    def error(self, message: str) -> NoReturn:
        """Write the error on stderr and exit."""
        self.exit(EXIT_USAGE, f"edge-inference: {one_line(message)}; see {self.prog} --help\n")


Commands: TypeAlias = "argparse._SubParsersAction[OneLineParser]"


def add_command(
    commands: Commands, name: str, start: Start | None, *, help: str, description: str, epilog: str
) -> OneLineParser:
    """Add a command, or an action of a command. ``epilog`` contains examples, shown verbatim."""
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if start is not None:
        parser.set_defaults(start=start)
    return parser


def add_model_path(parser: argparse.ArgumentParser, default: str = "") -> None:
    """Add ``--model-path``."""
    parser.add_argument(
        "--model-path",
        default=default,
        metavar="DIRS",
        help="folders to search for models first, separated by colons",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend``, ``--precision`` and ``--int8-mode``."""
    parser.add_argument(
        "--backend",
        default="auto",
        help="auto (default), ort, ort-cuda, trt, or the name of an installed package's backend",
    )
    parser.add_argument("--precision", default="auto", help="auto (default), fp32, fp16 or int8")
    parser.add_argument(
        "--int8-mode",
        metavar="MODE",
        help="int8 on x86 without VNNI: exact (default), or fast with 7-bit weights",
    )


def add_deadline(parser: argparse.ArgumentParser, subject: str) -> None:
    """Add ``--deadline-ms``; ``subject`` says from where to where."""
    parser.add_argument(
        "--deadline-ms",
        type=number_between(0.001, 3_600_000.0),
        metavar="MS",
        help=f"count the deadline misses: more than this {subject}",
    )


def add_recording(parser: argparse.ArgumentParser) -> None:
    """Add ``--mcap``."""
    parser.add_argument(
        "--mcap",
        type=non_empty_text,
        metavar="FILE",
        help="record results, timings and states into a new MCAP file, for Foxglove and ROS 2",
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add ``--images``, ``--topic`` and ``--limit``."""
    parser.add_argument(
        "--images",
        type=non_empty_text,
        metavar="SOURCE",
        help="an image, a folder, a video, a recorded bag or sample; default: the model's golden "
        "images and crops of them",
    )
    parser.add_argument(
        "--topic", default="", help="topic of the bag; needed if several topics have images"
    )
    parser.add_argument(
        "--limit",
        type=whole_number(1),
        metavar="N",
        help="maximum number of images; default: all with labels, 48 without",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="threads of engines on the CPU; default: 1",
    )


def add_gpu(parser: argparse.ArgumentParser) -> None:
    """Add ``--gpu``."""
    parser.add_argument("--gpu", type=whole_number(0), default=0, metavar="N", help="GPU index")


def add_bounds(
    parser: argparse.ArgumentParser, subject: str, timeout_s: int, grace_s: float = GRACE_S
) -> None:
    """Add ``--max-memory-mib`` and ``--timeout-s`` to a command that loads models.

    ``subject`` is the argument that names the model, or a list of models. After a signal the
    command has ``grace_s`` to end by itself; it cannot while a library runs.
    """
    parser.set_defaults(bounded=subject, grace_s=grace_s)
    parser.add_argument(
        MEMORY_OPTION,
        type=whole_number(_MIN_MEMORY_MIB),
        default=min(_MEMORY_MIB, machine_memory_mib() * 3 // 4),
        metavar="N",
        help=f"maximum memory for one model; default: {_MEMORY_MIB}, or three quarters of this "
        "machine's memory where that is less",
    )
    parser.add_argument(
        TIMEOUT_OPTION,
        type=whole_number(0),
        default=timeout_s,
        metavar="N",
        help="maximum seconds for one model; default: %(default)s; 0: no limit",
    )


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return an argument type: a whole number of at least ``minimum``, at most ``maximum``."""
    wanted = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"

    def parse(text: str) -> int:
        value = int(text) if text.isdecimal() and len(text) < _MAX_DIGITS else -1
        if value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(f"expected a whole number of {wanted}, got {text!r}")
        return value

    return parse


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Return an argument type: a number from ``low`` to ``high``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected a number from {low:g} to {high:g}, got {text!r}"
            )
        return value

    return parse


def port_number(text: str) -> int:
    """Return the number of a TCP port; 0 is any free one."""
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {_MAX_PORT}, got {text!r}")
    return int(text)


def non_empty_text(text: str) -> str:
    """Refuse an empty text, as from an unset shell variable, and text that ROS cannot transport."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(
            f"{text!a} is not UTF-8; rename the file, or give the folder that it is in"
        ) from None
    return text


def comma_names(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names separated by commas, got {text!r}")
    return names


def topic_name(text: str) -> str:
    """Refuse a text that is not an absolute topic name."""
    from edge_inference.cli.perception.source import is_topic_name

    if not is_topic_name(text):
        raise argparse.ArgumentTypeError(
            f"expected a topic such as /camera/image_raw or /cmd_vel, got {text!r}"
        )
    return text
