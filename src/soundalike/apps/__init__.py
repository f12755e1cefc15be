"""Programs for a person's own sounds: classifier, search, pages, rendering."""
