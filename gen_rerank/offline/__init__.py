"""Many pairs scored once and only once: whole catalogs, on one machine or on Ray, and again the next night."""
