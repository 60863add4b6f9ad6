"""The console: `python artisan.py list` shows what it can do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

if __name__ == "__main__":
    from bootstrap.app import create_app

    sys.exit(create_app().run(sys.argv[1:]))
