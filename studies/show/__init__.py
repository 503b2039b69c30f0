"""How do people get at it? Our pages, the report, what optuna-dashboard shows, and a guard in front of it all."""
