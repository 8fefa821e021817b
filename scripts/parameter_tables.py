"""Write docs/parameters.md from the declarations in the code.

``python scripts/parameter_tables.py`` writes the file. With ``--check`` it only
checks whether the file is up to date (exit status 1 if it is not).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edge_inference import nodes
from edge_inference.core.decoders import DECODERS
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.declared_points import DeclaredPoint
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.variants import Derivation
from edge_inference.core.settings import Rule, rules
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.platforms.board_files import BoardSettings
from edge_inference.platforms.board_sensor import BoardSensor

FILE = Path(__file__).parents[1] / "docs" / "parameters.md"

_MODEL_SECTIONS: dict[str, type[Any]] = {
    "input": InputSpec,
    "derive": Derivation,
    "self_check": SelfCheckThresholds,
    "engine": BuildOptions,
    "operating_points": DeclaredPoint,
}

_INTRODUCTION = """# Parameters

Written by `scripts/parameter_tables.py` from the declarations in the code; do not edit by hand.

Every parameter can be set in a params file, on the command line (`-p name:=value`), and, unless
marked *fixed*, while the node runs (`ros2 param set <node> <name> <value>`). A node refuses a bad
value with a sentence and applies a good one between two frames. Values that are set atomically are
applied together or not at all.
"""


def render_page() -> str:
    """Return the whole page."""
    parts = [_INTRODUCTION, "\n## Nodes\n"]
    for name in nodes.__all__:
        node_class = getattr(nodes, name)
        title = f"{node_class.default_name} (`edge_inference::{name}`)"
        parts.append(_format_section(title, node_class.__doc__, node_class.settings_class))
    parts.append(
        "\n## Decoders\n\nThe settings of the model's decoder are parameters of the `decode` node "
        "while it is configured;\ntheir defaults come from the model folder (`decoder:` in "
        "`model.yaml`).\n"
    )
    parts.extend(_format_decoders())
    parts.append(
        "\n## Model folder\n\nThese are not parameters but keys of sections of `model.yaml`, "
        "declared in the same way.\n"
    )
    for name, settings_class in _MODEL_SECTIONS.items():
        parts.append(_format_section(name, settings_class.__doc__, settings_class))
    parts.append("\n## Board files\n\nThe keys of `config/platforms/<board>.yaml`.\n")
    parts.append(_format_section("board", BoardSettings.__doc__, BoardSettings))
    parts.append(
        "\nThe key `sensors` is a list of sensors of your own ([sensing.md](sensing.md)); each has "
        "these keys:\n"
    )
    parts.append(_format_section("sensors", BoardSensor.__doc__, BoardSensor))
    return "".join(parts)


def _format_decoders() -> list[str]:
    """Return a section for each settings class of the decoders, not of packages installed here.

    A class that only changes defaults of another decoder's class has rows for these alone.
    """
    names: dict[type[Any], list[str]] = {}
    for name, entry in sorted(DECODERS.own.items()):
        names.setdefault(entry.settings_class, []).append(name)
    parts = []
    for settings_class, own_names in names.items():
        base = settings_class.__mro__[1]
        text = _first_line(settings_class)
        own_rules = list(rules(settings_class).values())
        if base in names and set(rules(base)) == {rule.name for rule in own_rules}:
            own_rules = [rule for rule in own_rules if rule != rules(base)[rule.name]]
            what = "Same settings as" if not own_rules else "Other defaults than"
            text += f"\n\n{what} [{names[base][0]}](#{names[base][0]})."
        parts.append(f"\n### {', '.join(own_names)}\n\n{text}\n" + _format_rows(own_rules))
    return parts


def _first_line(settings_class: type[Any]) -> str:
    return (settings_class.__doc__ or "").strip().splitlines()[0]


def _format_rows(own_rules: list[Rule]) -> str:
    head = "| name | type | default | accepts | unit | what it does |\n|---|---|---|---|---|---|\n"
    return "\n" + head + "".join(map(_format_row, own_rules)) if own_rules else ""


def _format_section(title: str, text: str | None, settings_class: type[Any]) -> str:
    first_line = (text or "").strip().splitlines()[0]
    return f"\n### {title}\n\n{first_line}\n" + _format_rows(list(rules(settings_class).values()))


def _format_row(rule: Rule) -> str:
    kind = (
        rule.type.__name__
        + (" list" if rule.is_list else "")
        + (", *fixed*" if rule.read_only else "")
    )
    default = "*required*" if rule.required else f"`{_format_value(rule.default)}`"
    accepts = ", ".join(f"`{choice}`" for choice in rule.choices) or _format_bounds(rule)
    cells = (f"`{rule.name}`", kind, default, accepts, rule.unit, rule.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _format_bounds(rule: Rule) -> str:
    if rule.minimum is None and rule.maximum is None:
        return "any"
    low = "" if rule.minimum is None else f"{rule.minimum:g}"
    high = "" if rule.maximum is None else f"{rule.maximum:g}"
    return f"{low} … {high}".strip()


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value) or '""'


def main() -> int:
    """Write or check the page."""
    page = render_page()
    if "--check" in sys.argv[1:]:
        current = FILE.read_text(encoding="utf-8") if FILE.is_file() else ""
        if current == page:
            return 0
        sys.stderr.write(f"{FILE.name} is out of date; run: python scripts/parameter_tables.py\n")
        return 1
    FILE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
