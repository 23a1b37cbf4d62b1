def total(numbers):
    return 0
