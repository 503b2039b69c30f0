"""How do people see it? Terminal, report files, and the dashboard as a command."""
