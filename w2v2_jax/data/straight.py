"""Sound files, of which MP3 files are read from the beginning to the end without seeking."""

from __future__ import annotations

import soundfile


class StraightFile(soundfile.SoundFile):
    """A file of which each block follows the one before. soundfile seeks after every read, to where
    it is already, unless a file cannot seek. In an MP3 file this is not nothing: frames borrow bits
    from those before them, so that libmpg123, which forgets these, mutes the next frames."""

    def seekable(self) -> bool:
        return self.format != "MP3" and super().seekable()

    def skip(self, frames: int) -> int:
        """Goes to a frame and returns it; 0 where the kind of file has no exact place for it."""
        return self.seek(frames) if self.seekable() else 0
