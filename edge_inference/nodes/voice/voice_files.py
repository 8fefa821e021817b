"""Files for voice that nodes name in their parameters; empty for the shipped one."""

from __future__ import annotations

from pathlib import Path

from edge_inference.composition.pipeline import share_folder
from edge_inference.errors import ConfigError
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.planning.limits import VoiceLimits, read_limits
from edge_inference.speech.planning.scene_sentences import SceneNames, read_names


def find_grammar(file: str) -> Grammar:
    """Read a grammar file. Raises ConfigError with file and line."""
    return read_grammar(_path(file, "grammar.yaml"))


def find_limits(file: str) -> VoiceLimits:
    """Read a limits file. Raises ConfigError with file and line."""
    return read_limits(_path(file, "limits.yaml"))


def find_scene_names(file: str) -> SceneNames:
    """Read a file of names for what is seen. Raises ConfigError with file and line."""
    return read_names(_path(file, "scene.yaml"))


def _path(file: str, shipped: str) -> Path:
    try:
        return Path(file).expanduser() if file else share_folder() / "config" / "voice" / shipped
    except RuntimeError as error:
        raise ConfigError(f"{file}: no such user is known here; write the folder out") from error
