"""Is the score real? Recipes, trainings beside the queue, and what is made of their networks."""
