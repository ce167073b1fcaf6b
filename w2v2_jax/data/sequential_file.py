"""Sound files, of which MP3 files are read from the beginning to the end without seeking."""

from __future__ import annotations

import soundfile

from w2v2_jax.errors.streams import without_chatter


class SequentialFile(soundfile.SoundFile):
    """A file of which each block follows the one before. soundfile seeks after every read, to where
    it is already, unless a file cannot seek. In an MP3 file this is not nothing: frames borrow bits
    from those before them, so that libmpg123, which forgets these, mutes the next frames.

    undecoded: how many times libmpg123 has said so far that it could not decode something, which it
    then leaves out or makes silent. It raises nothing, and would print that to standard error.
    """

    undecoded = 0

    def read(self, *arguments, **options):
        """As `soundfile.SoundFile.read`."""
        if self.format != "MP3":
            return super().read(*arguments, **options)
        with without_chatter() as said:
            block = super().read(*arguments, **options)
            said.seek(0)
            self.undecoded += sum(b"error:" in line for line in said)
        return block

    def seekable(self) -> bool:
        return self.format != "MP3" and super().seekable()

    def skip(self, frames: int) -> int:
        """Goes to a frame and returns it; 0 where the kind of file has no exact place for it."""
        return self.seek(frames) if self.seekable() else 0
