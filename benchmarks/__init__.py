"""Figures of the workbench as ratios against floors measured in the same run. `make benchmark` prints them."""
