"""Where the time goes: layers of a model, stages and threads of a pipeline, as a trace."""
