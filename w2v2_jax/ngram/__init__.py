"""N-gram language models: counted on disk, smoothed by modified Kneser-Ney, written as ARPA."""
