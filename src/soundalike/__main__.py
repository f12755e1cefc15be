"""``python -m soundalike``: the command line, for where no script is on the PATH."""

import sys

from soundalike.cli import main

if __name__ == "__main__":
    sys.exit(main())
