def total(numbers):
    """There is a function for that."""
    return sum(numbers)
