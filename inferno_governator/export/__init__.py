"""The bill in formats of other programs: pure functions from items to rows, and writers of files."""
