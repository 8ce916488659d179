"""Configurations of other programs, translated to ours."""
