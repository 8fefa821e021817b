"""``edge-inference optimize``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.optimize import (
    distill_model,
    export_model,
    layer_sensitivity,
    place_precisions,
    prune_model,
    quantize_aware,
    quantize_post_training,
    recommend_model,
    run_recipe,
    show_tradeoff,
    train_model,
)

_EXAMPLES = """\
examples:
  edge-inference optimize train net.py:make_net --data photos/ --input width=96 height=96 std=255 \\
      --output net.pt
  edge-inference optimize run recipe.yaml --dry-run
  edge-inference optimize quantize nanodet --calibration drive.mp4 --output ./mine
  edge-inference optimize tradeoff ./mine nanodet --images by_class/ --save points.json
  edge-inference optimize recommend points.json --min-accuracy 0.92 --max-latency-ms 30

What works on a PyTorch model (train, export, quantize-aware, prune, distill, run) needs
PyTorch: `make set-up-optimize`, or pip install 'edge_inference[optimize]'. The others take
any model folder. docs/optimizing.md has a tutorial and explains every action."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "optimize",
        lambda options, started_s: 0,
        help="make a model fit: quantize, prune, distill, and choose by what was measured",
        description="Make a model fit a target latency and accuracy.",
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for add_action in _ACTIONS:
        add_action(actions)


_ACTIONS: tuple[Callable[[Commands], None], ...] = (
    train_model.add,
    export_model.add,
    quantize_post_training.add,
    quantize_aware.add,
    layer_sensitivity.add,
    place_precisions.add,
    prune_model.add,
    distill_model.add,
    run_recipe.add,
    show_tradeoff.add,
    recommend_model.add,
)
