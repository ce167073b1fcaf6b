"""Rules that tell a sick run from a healthy one, and what a run does about it."""
