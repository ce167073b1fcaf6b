"""From recordings of any length to transcripts with times, in the formats others read."""
