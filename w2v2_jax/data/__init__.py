"""Audio and transcripts: reading recordings, the prepared corpus, the plan and the batches."""
