"""The exceptions that this package raises deliberately.

::

    EdgeInferenceError
    ├── InputError            data from outside is invalid
    │   ├── ImageError        an image message, file or encoding
    │   └── TensorError       a tensor's name, shape, dtype or values
    ├── ConfigError           a YAML file, parameter or command line value
    │   └── PluginError       a name that does not refer to a class or function
    ├── ModelError            a model folder, its files or its golden check
    ├── BackendError          an inference engine that cannot open or run
    │   └── EngineFileError   an engine file that is damaged, or built for another machine
    ├── CacheError            a cache folder, or an artifact in it
    ├── SourceError           a camera, video or image that cannot be read
    ├── ActuatorError         a machine setting that cannot be read, changed or restored
    └── CancelledError        the caller cancelled the work before it was complete

A message names the subject, what was expected, what was got, and a hint how to fix it.
Catch :class:`EdgeInferenceError` to catch all of them; any other exception is a bug.
"""

from __future__ import annotations


class EdgeInferenceError(Exception):
    """Base class of the exceptions that this package raises deliberately."""


class InputError(EdgeInferenceError, ValueError):
    """Data from outside is invalid."""


class ImageError(InputError):
    """An image's encoding, dimensions, step or bytes are wrong."""


class TensorError(InputError):
    """A tensor's name, shape, dtype or values are wrong."""


class ConfigError(EdgeInferenceError, ValueError):
    """A YAML file, a parameter or a command line value is wrong."""


class PluginError(ConfigError):
    """A name does not refer to a class or function."""


class ModelError(EdgeInferenceError):
    """A model folder is incomplete, altered, or fails its golden check."""


class BackendError(EdgeInferenceError):
    """An inference engine cannot be opened or cannot run."""


class EngineFileError(BackendError):
    """An engine file is damaged, or built for another machine."""


class CacheError(EdgeInferenceError):
    """A cache folder cannot be used, or an artifact in it is damaged."""


class SourceError(EdgeInferenceError):
    """A camera, video or image cannot be read."""


class ActuatorError(EdgeInferenceError):
    """A machine setting (clocks, power mode …) cannot be read, changed or restored."""


class CancelledError(EdgeInferenceError):
    """The caller cancelled the work before it was complete."""
