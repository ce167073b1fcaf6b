"""From a recipe to an Experiment ready to run; the only readers of configurations."""
