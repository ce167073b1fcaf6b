"""What the compiled step costs, read from the compiler's own text and tables."""
