"""The command line: one command per file, wired together in app.py; holds no logic of its own."""
