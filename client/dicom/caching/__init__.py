"""Decoded images on disk: the files of rows, what each row holds, and the room all of them share."""
