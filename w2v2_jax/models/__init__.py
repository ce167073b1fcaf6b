"""The wav2vec 2.0 network as pure Flax modules: every input, key and step is an argument."""
