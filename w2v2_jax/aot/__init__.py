"""The cost of the compiled step on a pod, read from the compiler's text and tables."""
