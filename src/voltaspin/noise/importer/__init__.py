"""Import recorded files: any layout that a laboratory writes becomes packed bits, and one line says how it was read.

``bit_file.py`` opens a file and holds the registry of layouts. ``content.py`` unpacks, and tells known kinds of files,
text, numbers and packed bits apart. ``reading.py`` holds a user's options and the contract of the readers, which stand
in ``readers.py`` and ``table.py``. ``values.py`` makes bits of the values, with a threshold that it may find.
"""
