"""Judged queries become a card's calibration: temperature, map, thresholds that keep promises; and its report."""
