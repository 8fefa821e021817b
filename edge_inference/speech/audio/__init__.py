"""Audio: chunks, sample formats, resampling, files and devices."""
