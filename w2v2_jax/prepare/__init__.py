"""From recordings and transcripts to a corpus of sharded records."""
