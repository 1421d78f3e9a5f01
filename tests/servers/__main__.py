"""`python -m tests.servers` installs the servers: see `install`."""

import sys

from tests.servers.install import main

sys.exit(main())
