"""The root command: tells a model from a command, and turns every error into one sentence and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, final

import click

from modelscan_bd.errors import BdscanError

_PIPE_CLOSED = 141  # as of a program that SIGPIPE ends: never 0, which would read as a verdict
DEBUG = "modelscan_bd.debug"  # the key, in click's own store, of whether a trace is wanted


@final
class Root(click.Group):
    """A group whose first argument may be a model: what is no command is scanned."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help", "--version"}:
            args = ["scan", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "MODEL [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND ...")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        click.Command.format_options(self.commands["scan"], ctx, formatter)
        self.format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BdscanError as error:
            _complain(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            _complain(ctx, "interrupted", 130)
        except BrokenPipeError:
            _close_output()
            ctx.exit(_PIPE_CLOSED)
        except (click.exceptions.Exit, click.exceptions.Abort, click.exceptions.NoArgsIsHelpError):
            raise
        except click.ClickException as error:
            _complain(ctx, f"{error.format_message()} See {ctx.command_path} --help.", error.exit_code)
        except Exception as error:  # noqa: BLE001 - the outermost edge: a user never meets a traceback unasked
            what = f"internal error: {type(error).__name__}: {error}".rstrip(": ")
            _complain(ctx, f"{what}. Please report this with the trace that --debug prints.", 2)


def _close_output() -> None:
    """Whoever read the output has left, as `head` does; Python would complain again as it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(ctx: click.Context, sentence: str, code: int) -> None:
    from modelscan_bd.report.escape import plain

    if ctx.find_root().meta.get(DEBUG):
        traceback.print_exc()
    click.echo(f"bdscan: {plain(sentence)}", err=True)
    ctx.exit(code)
