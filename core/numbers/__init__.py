"""Under metrics, statistics and results: resampling, calibration, paired comparisons."""
