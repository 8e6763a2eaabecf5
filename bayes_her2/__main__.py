"""The command ``bayes-her2``, also ``python -m bayes_her2``.

Every process that the command starts reads this module again, so that what it sets holds in each, and it imports no
more than that takes: a process that draws figures has no need of the models.
"""

from __future__ import annotations

import gc

import pandas as pd

# Imports and graphs make hundreds of thousands of objects that stay: looking through them for garbage at every 700th
# took a third of the time of the imports.
gc.set_threshold(100_000, 20, 20)

# Tables of labels here are small, and are asked for single rows thousands of times: pandas' own strings are faster at
# that than Arrow's (of the estimates and the twins a third). No value depends on it.
pd.set_option("mode.string_storage", "python")


def main() -> None:
    """Run the command."""
    from bayes_her2.cli import main as command  # noqa: PLC0415 - see above

    command()


if __name__ == "__main__":
    main()
