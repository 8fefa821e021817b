"""What ``edge-inference models new`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_inference.core.models.model import DESCRIPTION_FILE
from edge_inference.core.models.model_search import as_argument
from edge_inference.core.results import kind_of
from edge_inference.core.text_line import one_line
from edge_inference.optimize.export.model_yaml import UNKNOWN_LICENSE
from edge_inference.optimize.export.new_model_folder import NewModel

_MAX_FINDINGS = 6
_NO_LICENSE = "the file names none; write that of the weights into model.yaml"
_NO_LABELS = "none; classes are reported by number, until you give their names with --labels"


@dataclass(frozen=True)
class NewModelReport:
    """A new model, what was assumed about it, and its result on the image of that name."""

    new: NewModel
    image: str

    def text(self) -> str:
        """Return the lines for people."""
        return "".join(f"{one_line(line)}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        description, model = self.new.description, self.new.model
        proposal, spec = description.proposal, model.input
        yield f"{model.name}: {self.new.folder / DESCRIPTION_FILE}"
        yield f"  family: {proposal.family}"
        yield f"  task: {proposal.task}"
        yield (
            f"  input: {spec.name}, {spec.dtype} {spec.layout}, {spec.width} x {spec.height}, "
            f"{spec.color}, mean {list(spec.mean)}, std {list(spec.std)}, {spec.resize}"
        )
        for name, value in description.extra_inputs.items():
            yield f"  further input: {name} = {value}"
        settings = ", ".join(f"{key}: {value}" for key, value in proposal.settings.items())
        yield f"  decoder: {proposal.decoder}{f' ({settings})' if settings else ''}"
        yield f"  labels: {len(model.labels) or _NO_LABELS}"
        yield f"  license: {_NO_LICENSE if self._lacks_license else description.license}"
        for key, text in proposal.assumed.items():
            yield f"  {key}: {text}"
        for problem in self.new.problems:
            yield f"  warning: {problem}"
        lines = kind_of(self.new.result).to_lines(self.new.result, _MAX_FINDINGS)
        yield f"  result on {self.image}: {'; '.join(lines) or self._nothing()}"
        yield f"  next: edge-inference models check {as_argument(self.new.folder)}"

    def _nothing(self) -> str:
        settings = self.new.model.decoder_settings
        least = getattr(settings, "confidence", getattr(settings, "threshold", None))
        return "nothing" if least is None else f"nothing with a score of at least {least:g}"

    @property
    def _lacks_license(self) -> bool:
        return self.new.description.license == UNKNOWN_LICENSE

    def to_json(self) -> dict[str, Any]:
        """Return the object for ``--json``."""
        description, proposal = self.new.description, self.new.description.proposal
        return {
            "model": self.new.model.name,
            "file": str(self.new.folder / DESCRIPTION_FILE),
            "family": proposal.family,
            "task": proposal.task,
            "input": dict(description.input),
            "extra_inputs": dict(description.extra_inputs),
            "decoder": {"name": proposal.decoder, **proposal.settings},
            "labels": list(self.new.model.labels),
            "license": None if self._lacks_license else description.license,
            "assumed": dict(proposal.assumed),
            "warnings": list(self.new.problems),
            "image": self.image,
            "results": kind_of(self.new.result).to_json(self.new.result),
        }
