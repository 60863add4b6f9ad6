#!/usr/bin/env bash
# Puts a new version into place; run it in the project's folder. Workers finish their jobs on the old code.
set -euo pipefail

git pull --ff-only
make install
.venv/bin/python artisan.py migrate --force
.venv/bin/python artisan.py kafka:topics --create
# Every worker finishes the job in its hand and ends; Supervisor, systemd or the container engine starts it anew.
.venv/bin/python artisan.py queue:restart
