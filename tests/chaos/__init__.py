"""Faults on the real service: real processes on real servers, judged from outside.

`python -m tests.chaos --kills 100 --engine embedded`; docs/explanation/chaos.md says what is tried.
"""
