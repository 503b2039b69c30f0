"""Our own pages beside optuna-dashboard's: what runs now, one trial, several side by side, the best one.

site      which address shows which page
reader    what the pages know of studies and trials
overview  what the list of studies and a study's page say
details   what the pages of one trial, of several and of the best one say
chart     a line chart as places in percent, which ../templates/parts.html makes into SVG
gpus      how busy this machine's GPUs are

The server writes each page whole; static/pages.js asks for the page again and puts what changed into the one that is
open. So there is one place that says how things look, pages are complete without a script, and all text from a
database passes through Jinja's escaping. No page needs a network, a framework, or an exception from a strict
Content-Security-Policy.
"""
