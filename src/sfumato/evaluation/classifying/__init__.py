"""How well a classifier of noisy vectors tells: by level of noise, overall, and calibration."""
