"""Ratios against peers, one command each: `make bench NAME=read`. Sizes are in each module's docstring."""
