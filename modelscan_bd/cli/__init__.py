"""The command line: argv → Settings → exit code. Nothing outside this folder and `bench` prints or exits.

What takes long to import (torch) is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import click

from modelscan_bd import __version__
from modelscan_bd.cli.auditing import audit
from modelscan_bd.cli.listing import detectors, explain, rules
from modelscan_bd.cli.root import Root
from modelscan_bd.cli.scanning import scan

_EXITS = """
\b
Exit codes:
  0    the verdict is below --fail-on
  1    the verdict is at or above --fail-on
  2    a usage error, a broken file or an internal error
  3    not everything could be examined, or nothing (see --allow-incomplete)
"""


@click.group(cls=Root, epilog=_EXITS, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="bdscan")
def main() -> None:
    """Tells whether an image-classification checkpoint carries a backdoor, without running a byte of the file.

    MODEL is a file (.onnx, .safetensors, .pt, .pth, .bin), a folder with config.json and weights, or a named
    architecture (timm:NAME, torchvision:NAME) with --weights. A file with the name of a command is given as ./NAME.
    """


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}, add_help_option=False
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def benchmark(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Trains infected and benign models, and measures the detectors on them."""
    from modelscan_bd.bench.cli import benchmark as group

    with group.make_context("benchmark", list(arguments), parent=ctx.parent) as inner:
        group.invoke(inner)


for _command in (scan, audit, detectors, rules, explain):
    main.add_command(_command)
