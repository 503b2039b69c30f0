"""What does it look like? Pictures by matplotlib, figures by plotly."""
