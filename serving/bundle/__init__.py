"""A released model as a folder of open files: addressed by its digest, signed, checked before anything is loaded."""
