"""From a file to a network, without running a byte of the file.

Each format has a module that first checks the bytes by rules of its own and only then hands them to the library that
reads them. `load` is the only way in.
"""

from modelscan_bd.loading.entry import load as load
from modelscan_bd.loading.limits import Limits as Limits
