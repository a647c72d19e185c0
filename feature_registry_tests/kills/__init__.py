"""Processes that are killed with SIGKILL at random moments, and what must hold afterwards. Used by the tests and by
`benchmarks/kills.py`.
"""
