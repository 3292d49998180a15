"""Measuring in a process of its own, which gives up first what it does not need, and is ended when its time is up.

`watchdog` is the side that waits, `child` the side that works; what they say to each other is `messages`, in the
form of `wire`. Neither pickles: who works has read a hostile file.
"""
