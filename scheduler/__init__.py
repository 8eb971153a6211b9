"""Knows who holds what and decides who takes what from whom. Pure."""
