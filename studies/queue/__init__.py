"""Who may train what? The budget, slots, the dead among them, and limits."""
