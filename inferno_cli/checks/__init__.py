"""``inferno check``: the known traps of a machine and of a running mesh, each with its evidence and its fix.

Facts are collected first; each check is a pure function of them.
"""
