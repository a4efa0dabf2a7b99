"""Imported first by every service's handlers: a cold start without garbage collections.

Imports make a few hundred thousand objects that all stay, and Python looks through them for
garbage again and again: an eighth of a cold start. A function's own garbage is little, and most of
it goes without the collector, so the threshold stays where it is put.
"""

import gc

gc.set_threshold(100_000, 20, 100)
