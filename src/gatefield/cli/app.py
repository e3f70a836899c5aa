"""The command line: parse, call one function, show. Everything heavy is imported where it is used."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter

from gatefield.cli.cache import cache
from gatefield.cli.chaos import lyapunov
from gatefield.cli.edge import edge
from gatefield.cli.figures import figure
from gatefield.cli.layers import diagnose, init
from gatefield.cli.phases import fixed_points, phase_diagram
from gatefield.cli.reports import mean_field, report, spectrum
from gatefield.cli.sweeps import status, sweep
from gatefield.cli.terminal import print_note
from gatefield.cli.training import train
from gatefield.results.version import __version__
from gatefield.running import compile_cache

app = App(
    name="gatefield",
    version=__version__,
    help="Mean-field and random-matrix theory of gated recurrent networks: what a large random GRU, LSTM or other "
    "gated cell does, by theory and by simulation.",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


COMMANDS = (
    report, mean_field, spectrum, lyapunov, fixed_points, phase_diagram, edge, figure, sweep, train, status, diagnose,
    init, cache,
)  # fmt: skip
COMPILE_NOTHING = (cache, status)
for _command in COMMANDS:
    app.command(_command)


def main() -> NoReturn:
    """Entry point: exit 0, 2 for what the user got wrong, 130 when interrupted."""
    try:
        command, given, _ = app.parse_args(exit_on_error=False, print_error=False)
        if command in COMMANDS and command not in COMPILE_NOTHING:
            compile_cache.keep_bytecode()
            compile_cache.turn_on()
        command(*given.args, **given.kwargs)
    except CycloptsError as error:
        _fail(_explain(error))
    except ValueError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:  # of an extra
        _fail(str(error))
    except MemoryError:
        _fail("out of memory; use a smaller --size, --steps or --samples")
    except BrokenPipeError:  # the reader has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(1)
    except OSError as error:
        where = "" if error.filename is None else f"{str(error.filename)!r}: "
        print_note(f"{where}{error.strerror or error}")
        _exit(1)
    except KeyboardInterrupt as stop:
        print(f"gatefield: {stop if stop.args else 'interrupted; nothing was written'}", file=sys.stderr)  # noqa: T201
        _exit(130)
    _exit(0)


def _fail(message: str) -> NoReturn:
    print_note(message)
    _exit(2)


def _exit(code: int) -> NoReturn:
    """Leave at once if a thread is still at work in compiled code, which nothing can interrupt."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _explain(error: CycloptsError) -> str:
    """Cyclopts' message on one line, with what is known where something is not."""
    from cyclopts import MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

    match error:
        case UnknownCommandError():
            given = (error.unused_tokens or ["?"])[0]
            return f"command {given!r} is not known; use one of {', '.join(_commands())}"
        case UnknownOptionError():
            arguments = error.argument_collection or []
            options = sorted({name for argument in arguments for name in argument.names if name.startswith("--")})
            return f"{str(error).rstrip('.')}; the options are {', '.join(options)}"
        case UnusedCliTokensError():
            return f"{' '.join(error.unused_tokens or [])!r} is one argument too many; values follow an option's name"
        case MissingArgumentError():
            return f"{str(error).rstrip('.')}; see gatefield --help"
        case _:
            return str(error).rstrip(".")


def _commands() -> list[str]:
    return [name for name in app if not name.startswith("-")]
