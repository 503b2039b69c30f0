"""How do people get at it? Our pages, the report, notes and artifacts in optuna-dashboard, a guard before them."""
