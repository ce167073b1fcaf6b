"""What the compiled step costs on a pod, read from the compiler's own text and tables."""
