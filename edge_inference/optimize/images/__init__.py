"""Images for calibration and evaluation: files, folders, videos and recorded bags."""
