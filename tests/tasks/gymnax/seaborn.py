"""In place of the plotting package that gymnax imports for its pictures: it and SciPy would take seconds to import."""
