"""Audio and transcripts: sources, preparation, the plan of batches, the reading pipeline."""
