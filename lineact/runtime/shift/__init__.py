"""The shift report: what was done when, cycle times and deviations, as one page that needs no network."""
