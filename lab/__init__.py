# SPDX-License-Identifier: GPL-2.0-or-later
"""pagelab: an emulated-hardware kernel lab."""

import gc
import os

__version__ = "0.1.0"

# By default the collector looks at every object of the process again and again while modules are loaded: a quarter of
# the time of the imports of `lab exec` (0.2 of 0.9 CPU s). The lab leaves few cycles behind.
gc.set_threshold(50_000, 20, 20)

# Pydantic looks for plugins in the metadata of every installed package (15 ms). The lab's models have none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
