"""The build options of an engine as flags of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from edge_inference.core.settings import Rule, rules
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.profiles import parse_batch
from edge_inference.errors import ConfigError

#: Flags with another name than the option.
_FLAGS = {"profiles": "--profile", "workspace_mib": "--workspace", "targets": "--target"}
_METAVARS = {
    "profiles": "NAME:MIN,OPT,MAX",
    "workspace_mib": "MIB",
    "targets": "X.Y",
    "keep_fp32": "LAYER",
    "optimization_level": "0-5",
}
#: The command declares these itself, with another default.
_EXCLUDED = ("precision",)


def add_build_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every build option; the default is None."""
    group = parser.add_argument_group("build options, which replace those of model.yaml")
    for name, rule in _rules().items():
        flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
        text = rule.description.replace("%", "%%")
        if name == "batch":
            text = f"MIN:OPT:MAX as in 1:4:8: {text}"
            group.add_argument(flag, type=_batch, metavar="MIN:OPT:MAX", help=text)
        elif rule.type is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(flag, dest=name, action=action, default=None, help=text)
        elif rule.is_list:
            group.add_argument(
                flag,
                dest=name,
                action="append",
                metavar=_METAVARS.get(name),
                help=f"{text}; may be repeated",
            )
        else:
            group.add_argument(
                flag,
                dest=name,
                type=rule.type,
                choices=rule.choices or None,
                metavar=_METAVARS.get(name),
                help=text,
            )


def given_build_options(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the given build options by name."""
    values = {name: getattr(options, name) for name in _rules()}
    return {name: value for name, value in values.items() if value is not None}


def _rules() -> Mapping[str, Rule]:
    return {name: rule for name, rule in rules(BuildOptions).items() if name not in _EXCLUDED}


def _batch(text: str) -> tuple[int, ...]:
    try:
        return parse_batch(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
