"""Two hours of real speech to try things on."""
