"""Import recorded files: any layout that a laboratory writes becomes packed bits, and one line says how it was read.

``bit_file.py`` opens a file. ``options.py`` holds a user's options, ``containers.py`` unpacks, ``content.py`` tells
known kinds of files, text, numbers and packed bits apart. ``text.py``, ``table.py`` and ``arrays.py`` hold one reader
per layout. ``values.py`` makes bits of the values, with a threshold that ``populations.py`` may find.
"""
