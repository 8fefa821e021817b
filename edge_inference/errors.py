"""Every error that this package raises on purpose.

::

    EdgeInferenceError
    ├── InputError            data from outside is not what it claims to be
    │   ├── ImageError        an image message, file or encoding
    │   └── TensorError       a tensor's name, shape, dtype or values
    ├── ConfigError           a YAML file, parameter or command line value
    │   └── PluginError       a name that should lead to a class or function
    ├── ModelError            a model folder, its files or its golden check
    ├── BackendError          an inference engine that cannot open or run
    │   └── EngineFileError   what it opens is damaged, or made for another machine
    ├── CacheError            a cache folder, or something built that is kept in it
    ├── SourceError           a camera, video or image that cannot be read
    ├── ActuatorError         a setting of the machine that cannot be read, changed or put back
    └── CancelledError        the caller cancelled the work before it was complete

A message names the thing, what was expected, what came, and how to mend it.
Catch :class:`EdgeInferenceError` to catch them all; anything else is a bug.
"""

from __future__ import annotations


class EdgeInferenceError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(EdgeInferenceError, ValueError):
    """Data from outside is not what it claims to be."""


class ImageError(InputError):
    """An image's encoding, dimensions, step or bytes are wrong."""


class TensorError(InputError):
    """A tensor's name, shape, dtype or values are wrong."""


class ConfigError(EdgeInferenceError, ValueError):
    """A YAML file, a parameter or a command line value is wrong."""


class PluginError(ConfigError):
    """A name that should lead to a class or function leads to none."""


class ModelError(EdgeInferenceError):
    """A model folder is incomplete, altered, or fails its golden check."""


class BackendError(EdgeInferenceError):
    """An inference engine cannot be opened or cannot run."""


class EngineFileError(BackendError):
    """What an inference engine opens is damaged, or made for another machine."""


class CacheError(EdgeInferenceError):
    """A cache folder cannot be used, or what is kept in it is damaged."""


class SourceError(EdgeInferenceError):
    """A camera, video or image cannot be read."""


class ActuatorError(EdgeInferenceError):
    """A setting of the machine (clocks, power mode …) cannot be read, changed or put back."""


class CancelledError(EdgeInferenceError):
    """The caller cancelled the work before it was complete."""
